"""What the operations of Lambda share."""

from dataclasses import replace
from typing import Any

from .. import paging
from ..call import Call
from ..errors import AwsError
from ..settings import AccountSettings
from .errors import conflict, function_not_found, invalid, not_found, revision_mismatch
from .lifecycle import settled
from .model import LATEST, Configuration, Function, new_revision, region_of
from .names import FunctionName, parse_name


class Operations:
    """Base of the operations: the call, its region, and the function that it names."""

    def __init__(self, call: Call, settings: AccountSettings) -> None:
        self.call, self.settings = call, settings
        self.region = region_of(call.account, call.region)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the call."""
        return self.call.parameters

    def named(self, text: str | None = None) -> FunctionName:
        """The function that the call names, with the qualifier from its name or from a parameter."""
        given = self.parameters["FunctionName"] if text is None else text
        parsed = parse_name(given)
        if parsed is None:
            raise invalid(f"{given} is no name of a function")
        self.check_reachable(parsed.account, parsed.region, given)
        asked = self.parameters.get("Qualifier")
        if asked and parsed.qualifier and asked != parsed.qualifier:
            raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
        return replace(parsed, qualifier=asked or parsed.qualifier)

    def check_reachable(self, account: str | None, region: str | None, resource: str) -> None:
        """Refuse what belongs to another region or account."""
        if region and region != self.call.region:
            raise not_found(f"Functions from '{region}' are not reachable in this region ('{self.call.region}')")
        if account and account != self.call.account:
            raise AwsError(
                "AccessDeniedException",
                f"User: {self.call.session} is not authorized to perform: lambda:{self.call.operation} on resource: "
                f"{resource} because no resource-based policy allows the lambda:{self.call.operation} action",
                403,
            )

    def find(self, name: str) -> Function | None:
        """A function by its name as it is by now."""
        function = self.region.functions.get(name)
        return settled(self.region, function) if function else None

    def function(self, unqualified: bool = False, absent: AwsError | None = None) -> tuple[Function, str]:
        """The function that the call names and the qualifier; `absent` is the error where there is none."""
        named = self.named()
        if unqualified and named.qualifier:
            raise invalid(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
                "operation. Please specify either a function name or an unqualified function ARN."
            )
        function = self.find(named.name)
        if function is None:
            raise absent or function_not_found(self.region.arn("function", named.name))
        return function, named.qualifier

    def write(self, function: Function, **changes: Any) -> Function:
        """Put the changed function into the region."""
        changed = replace(function, **changes)
        self.call.function_journal.touch(self.region, function.name)
        self.region.functions[function.name] = changed
        return changed

    def check_revision(self, function: Function) -> None:
        """Refuse a RevisionId that is not the function's."""
        given = self.parameters.get("RevisionId")
        if given and given != function.latest["RevisionId"]:
            raise revision_mismatch("GetFunction/GetAlias")

    @staticmethod
    def check_idle(function: Function) -> None:
        """Refuse to change a function that is just being made or changed."""
        latest = function.latest
        refusal = "The operation cannot be performed at this time."
        if latest.get("LastUpdateStatus") == "InProgress":
            raise conflict(f"{refusal} An update is in progress for resource: {function.arn}")
        if latest.get("State") in ("Pending", "Deleting"):
            raise conflict(f"{refusal} The function is currently in the following state: {latest['State']}")

    def page(self, name: str, items: list[Any]) -> dict[str, Any]:
        """One page of a list, and the marker of the next one."""
        paging.check(self.call)
        page, marker = paging.page(self.call, items)
        return {name: page, **({"NextMarker": marker} if marker else {})}


def with_latest(function: Function, latest: Configuration) -> dict[str, Configuration]:
    """All versions with another configuration of `$LATEST`, which gets a new revision."""
    return {**function.versions, LATEST: {**latest, "RevisionId": new_revision()}}
