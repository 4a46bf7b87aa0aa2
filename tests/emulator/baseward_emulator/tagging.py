"""The Resource Groups Tagging API over the functions. Mends: moto's knows nothing of the layer's Lambda.

As on AWS, what never had a tag is missing, and what had one once shows an empty list.
"""

import json
from typing import Any

from . import paging
from .call import Call
from .errors import AwsError, not_implemented
from .lambda_.model import Function, region_of

TYPES = {"lambda", "lambda:function"}


class Tagging:
    """The API for one call."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._region = region_of(call.account, call.region)

    def get_resources(self) -> str:
        """Functions with their tags, in pages, by type and by tags or by ARNs."""
        parameters = self.call.parameters
        types, arns = parameters.get("ResourceTypeFilters", []), parameters.get("ResourceARNList", [])
        if arns and (types or parameters.get("TagFilters") or parameters.get("ResourcesPerPage")):
            raise AwsError("InvalidParameterException", "ResourceARNList cannot be used with filters or page sizes.")
        if not arns and (not types or not set(types) <= TYPES):
            raise not_implemented(f"GetResources of types other than {', '.join(sorted(TYPES))}")
        paging.check(self.call)
        found = [function for function in self._region.functions.values() if self._selected(function, arns)]
        page, token = paging.page(self.call, sorted(found, key=lambda function: function.arn))
        items = [{"ResourceARN": each.arn, "Tags": _tag_list(each)} for each in page]
        return json.dumps({"PaginationToken": token or "", "ResourceTagMappingList": items})

    def _selected(self, function: Function, arns: list[str]) -> bool:
        if not function.ever_tagged or (arns and function.arn not in arns):
            return False
        filters: list[dict[str, Any]] = self.call.parameters.get("TagFilters", [])
        return all(_matches(function.tags, condition) for condition in filters)


def _matches(tags: dict[str, str], condition: dict[str, Any]) -> bool:
    key, values = condition.get("Key"), condition.get("Values")
    return key in tags and (not values or tags[key] in values)


def _tag_list(function: Function) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in function.tags.items()]
