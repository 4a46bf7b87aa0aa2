"""Managed prefix lists.

Mends gaps of moto: no pages; unknown ids are ignored or crash; ModifyManagedPrefixList loses the name,
ignores MaxEntries and the current version; nothing can be shared but unreadable.
"""

from typing import Any

from moto.core.responses import ActionResult

from . import paging
from .errors import AwsError, invalid
from .filters import select
from .operations import Operations
from .permissions import prefix_list_not_found

FIELDS: dict[str, Any] = {
    "owner-id": lambda item: [item.owner_id],
    "prefix-list-id": lambda item: [item.id],
    "prefix-list-name": lambda item: [item.prefix_list_name],
}


class PrefixLists(Operations):
    """The operations."""

    def describe_managed_prefix_lists(self) -> ActionResult:
        """The lists, in pages. Those that the account may not read are absent."""
        parameters = self.call.parameters
        paging.check(self.call)
        self.error_on_dryrun()
        lists = [
            listed
            for key, listed in self.ec2_backend.managed_prefix_lists.items()
            if key not in self.settings.deniedPrefixLists
        ]
        if ids := parameters.get("PrefixListIds"):
            known = {listed.id: listed for listed in lists}
            if absent := [key for key in ids if key not in known]:
                raise prefix_list_not_found(absent[0])
            lists = [known[key] for key in dict.fromkeys(ids)]
        selected = select(lists, self.conditions(), FIELDS, self.ec2_backend.tags)
        items, token = paging.page(self.call, selected)
        return ActionResult({"PrefixLists": items, "NextToken": token})

    def get_managed_prefix_list_entries(self) -> ActionResult:
        """The entries of one version of a list, in pages."""
        prefix_list_id = self.call.parameters["PrefixListId"]
        paging.check(self.call)
        if prefix_list_id in self.settings.deniedPrefixLists:
            raise AwsError("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
        listed = self._list(prefix_list_id)
        self.error_on_dryrun()
        version = self.call.parameters.get("TargetVersion", listed.version or 1)
        if not 1 <= version <= (listed.version or 1):
            raise invalid(f"The prefix list {prefix_list_id} has no version {version}")
        items, token = paging.page(self.call, listed.entries.get(version, []))
        return ActionResult({"Entries": items, "NextToken": token})

    def modify_managed_prefix_list(self) -> ActionResult:
        """Change entries, which makes a new version, or name and size, which does not."""
        parameters = self.call.parameters
        listed = self._list(parameters["PrefixListId"])
        if listed.owner_id != self.call.account:
            raise AwsError("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
        if parameters.get("CurrentVersion", listed.version) != listed.version:
            raise AwsError("PrefixListVersionMismatch", "The prefix list has the incorrect version number.")
        limit = parameters.get("MaxEntries", int(listed.max_entries))
        entries = _changed(
            listed.entries.get(listed.version, []),
            parameters.get("AddEntries", []),
            [entry["Cidr"] for entry in parameters.get("RemoveEntries", [])],
        )
        if len(entries) > limit:
            raise AwsError("PrefixListMaxEntriesExceeded", "You've reached the maximum number of entries.")
        self.error_on_dryrun()
        listed.max_entries = limit
        listed.prefix_list_name = parameters.get("PrefixListName", listed.prefix_list_name)
        if parameters.get("AddEntries") or parameters.get("RemoveEntries"):
            listed.version += 1
            listed.entries[listed.version] = entries
        listed.state = "modify-complete"
        return ActionResult({"PrefixList": listed})

    def _list(self, prefix_list_id: str) -> Any:
        listed = self.ec2_backend.managed_prefix_lists.get(prefix_list_id)
        if listed is None:
            raise prefix_list_not_found(prefix_list_id)
        return listed


def _changed(entries: list[dict[str, str]], added: list[dict[str, str]], removed: list[str]) -> list[dict[str, str]]:
    """The entries of the next version; adding a CIDR again replaces its description."""
    gone = {*removed, *(entry["Cidr"] for entry in added)}
    return [entry for entry in entries if entry["Cidr"] not in gone] + added
