"""Pages and their tokens. Mends: moto ignores MaxResults and NextToken of these operations."""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TypeVar

from .call import Call, PageFault
from .errors import AwsError

Item = TypeVar("Item")


@dataclass(frozen=True)
class PageSize:
    """Allowed page sizes; `default` None answers everything in one page. `ids` excludes MaxResults.

    `clamped` answers less than a larger number instead of refusing it. Then the names of the two parameters, and
    the codes of what is refused.
    """

    smallest: int
    largest: int
    default: int | None = None
    ids: str | None = None
    clamped: bool = False
    size_name: str = "MaxResults"
    token_name: str = "NextToken"
    bad_size: str = "InvalidParameterValue"
    bad_token: str = "InvalidPaginationToken"


# Whatever the caller asks for, Lambda answers 50 items at most.
FIFTY = PageSize(
    1,
    50,
    default=50,
    clamped=True,
    size_name="MaxItems",
    token_name="Marker",
    bad_size="InvalidParameterValueException",
    bad_token="InvalidParameterValueException",
)
PAGE_SIZES = {
    "DescribeSecurityGroups": PageSize(5, 1000, ids="GroupIds"),
    "DescribeSecurityGroupRules": PageSize(5, 1000),
    "DescribeNetworkInterfaces": PageSize(5, 1000, ids="NetworkInterfaceIds"),
    "DescribeManagedPrefixLists": PageSize(1, 100, default=100),
    "GetManagedPrefixListEntries": PageSize(1, 100, default=100),
    "DescribeSubnets": PageSize(5, 1000),
    "DescribeRouteTables": PageSize(5, 100),
    "DescribeNatGateways": PageSize(5, 1000),
    "ListAliases": FIFTY,
    "ListCodeSigningConfigs": FIFTY,
    "ListFunctionEventInvokeConfigs": FIFTY,
    "ListFunctionUrlConfigs": FIFTY,
    "ListFunctions": FIFTY,
    "ListFunctionsByCodeSigningConfig": FIFTY,
    "ListLayerVersions": FIFTY,
    "ListLayers": FIFTY,
    "ListVersionsByFunction": FIFTY,
    # CloudFront calls both texts.
    "ListDistributions": PageSize(
        1,
        100,
        default=100,
        size_name="MaxItems",
        token_name="Marker",
        bad_size="InvalidArgument",
        bad_token="InvalidArgument",
    ),
    "GetResources": PageSize(
        1,
        100,
        default=50,
        size_name="ResourcesPerPage",
        token_name="PaginationToken",
        bad_size="InvalidParameterException",
        bad_token="PaginationTokenExpiredException",
    ),
    "LookupEvents": PageSize(
        1, 50, default=50, bad_size="InvalidMaxResultsException", bad_token="InvalidNextTokenException"
    ),
}


def check(call: Call) -> None:
    """Refuse a page size or token that AWS refuses, before any work."""
    _page_size(call)
    _offset(call)


def page(call: Call, items: list[Item]) -> tuple[list[Item], str | None]:
    """The page that the call asks for, and the token of the next one."""
    size, start = _page_size(call) or len(items) or 1, _offset(call)
    end = start + size
    fault = call.page_fault or PageFault()
    if fault.repeat:
        return items[start:end], _token(call, start)
    if fault.drop:
        return items[start:end][: -fault.drop], None
    return items[start:end], _token(call, end) if end < len(items) else None


def _page_size(call: Call) -> int | None:
    allowed = PAGE_SIZES[call.operation]
    given = call.parameters.get(allowed.size_name)
    if given is None:
        return allowed.default
    if allowed.ids and call.parameters.get(allowed.ids):
        raise AwsError(
            "InvalidParameterCombination",
            f"The parameter {allowed.ids} cannot be used with the parameter {allowed.size_name}",
        )
    if allowed.clamped:
        given = min(given, allowed.largest)
    if not allowed.smallest <= given <= allowed.largest:
        raise AwsError(
            allowed.bad_size,
            f"Value ( {given} ) for parameter {allowed.size_name[0].lower()}{allowed.size_name[1:]} is invalid. "
            f"Expecting a value between {allowed.smallest} and {allowed.largest}.",
        )
    return int(given)


def _fingerprint(call: Call) -> str:
    """What a token is bound to: everything of the request but the page itself."""
    allowed = PAGE_SIZES[call.operation]
    own = (allowed.size_name, allowed.token_name)
    asked = {name: value for name, value in call.parameters.items() if name not in own}
    bound = json.dumps([call.account, call.region, call.operation, asked], sort_keys=True)
    return hashlib.sha256(bound.encode()).hexdigest()[:20]


def _token(call: Call, offset: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([offset, _fingerprint(call)]).encode()).decode()


def _offset(call: Call) -> int:
    allowed = PAGE_SIZES[call.operation]
    token = call.parameters.get(allowed.token_name)
    if not token:
        return 0
    try:
        offset, fingerprint = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError):
        fingerprint = None
    if fingerprint != _fingerprint(call):
        raise AwsError(allowed.bad_token, "The specified pagination token is not valid or is expired.")
    return int(offset)
