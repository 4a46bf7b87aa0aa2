"""Before and after of the security groups that a call touches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .grants import Rule, rule_record


@dataclass(frozen=True)
class GroupState:
    """One group at one moment. The lists are shared with moto's model, which the layer never changes in place."""

    group: Any
    ingress: list[Rule]
    egress: list[Rule]

    @classmethod
    def of(cls, group: Any) -> "GroupState":
        """The present state of a group."""
        return cls(group, group.ingress_rules, group.egress_rules)


def rules_record(state: GroupState, tags: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Both rule lists in the ledger's shape."""
    return {
        "ingress": [rule_record(rule, tags.get(rule.id, {})) for rule in state.ingress],
        "egress": [rule_record(rule, tags.get(rule.id, {})) for rule in state.egress],
    }


@dataclass
class Journal:
    """What one call did to security groups."""

    backend: Any = None
    states: dict[str, GroupState | None] = field(default_factory=dict)
    records: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    groups: list[dict[str, Any]] = field(default_factory=list)

    def touch(self, backend: Any, group: Any) -> None:
        """Note the state of a group that the call is about to change."""
        if group.id not in self.states:
            self.backend = backend
            state = GroupState.of(group)
            self.states[group.id], self.records[group.id] = state, rules_record(state, backend.tags)

    def created(self, backend: Any, group: Any) -> None:
        """Note that the call has made this group."""
        self.backend = backend
        self.states[group.id] = self.records[group.id] = None

    def close(self) -> None:
        """Compare with the state after the call."""
        for group_id, before in self.records.items():
            group = self.backend.get_security_group_from_id(group_id)
            after = rules_record(GroupState.of(group), self.backend.tags) if group else None
            self.groups.append({"groupId": group_id, "before": before, "after": after})

    @property
    def changed(self) -> bool:
        """Whether any touched group differs from before the call."""
        return any(entry["before"] != entry["after"] for entry in self.groups)


class History:
    """What the most recent write in each account and region replaced, for reads that are to be stale."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[float, dict[str, GroupState | None]]] = {}

    def record(self, account: str, region: str, journal: Journal) -> None:
        """Keep what a call replaced."""
        self._last[account, region] = (time.monotonic(), journal.states)

    @contextmanager
    def before_last(self, account: str, region: str, backend: Any, seconds: float) -> Iterator[None]:
        """Undo the most recent write, if it is younger than `seconds`, for the time of one read."""
        moment, old = self._last.get((account, region), (0.0, {}))
        if time.monotonic() - moment >= seconds:
            yield
            return
        present_groups = dict(backend.groups)
        present_rules = [GroupState.of(state.group) for state in old.values() if state]
        try:
            _put_back(backend, old)
            yield
        finally:
            backend.groups.update(present_groups)
            for state in present_rules:
                state.group.ingress_rules, state.group.egress_rules = state.ingress, state.egress


def _put_back(backend: Any, old: dict[str, GroupState | None]) -> None:
    groups = {vpc: dict(members) for vpc, members in backend.groups.items()}
    for group_id, state in old.items():
        if state is None:
            for members in groups.values():
                members.pop(group_id, None)
        else:
            groups.setdefault(state.group.vpc_id, {})[group_id] = state.group
            state.group.ingress_rules, state.group.egress_rules = state.ingress, state.egress
    backend.groups.update(groups)
