"""Batches of rule changes on one group: all or nothing, as AWS, or up to the first error, as moto."""

from typing import Any

from .errors import AwsError
from .grants import CIDR_V4, CIDR_V6, PREFIX_LIST, Rule, duplicate

# The weight of AWS-managed prefix lists, for which there is no MaxEntries.
AWS_MANAGED_WEIGHTS = {
    "cloudfront.origin-facing": 55,
    "groundstation": 5,
    "vpc-lattice": 10,
    "route53-healthchecks": 25,
}


class Batch:
    """A working copy of both rule lists of a group, put into the group by `commit`."""

    def __init__(self, backend: Any, group: Any, limit: int, atomic: bool) -> None:
        self._backend, self._group, self._limit, self._atomic = backend, group, limit, atomic
        self._rules: dict[bool, list[Rule]] = {False: list(group.ingress_rules), True: list(group.egress_rules)}

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if error is None or not self._atomic:
            self.commit()

    def commit(self) -> None:
        """Make the changes."""
        self._group.ingress_rules, self._group.egress_rules = self._rules[False], self._rules[True]

    def rules(self, egress: bool) -> list[Rule]:
        """The rules of one direction as they are now in this batch."""
        return self._rules[egress]

    def by_id(self, rule_id: str, egress: bool | None = None) -> Rule | None:
        """A rule of either direction, or of the one asked for."""
        directions = (False, True) if egress is None else (egress,)
        return next((rule for side in directions for rule in self._rules[side] if rule.id == rule_id), None)

    def add(self, rule: Rule) -> None:
        """Add a rule that the group does not have and has room for."""
        rules = self._rules[rule.is_egress]
        if any(other.grant == rule.grant for other in rules):
            raise duplicate(rule.grant)
        self._check_quota([*rules, rule])
        rules.append(rule)

    def remove(self, rule: Rule) -> None:
        """Remove a rule of the group."""
        self._rules[rule.is_egress].remove(rule)

    def replace(self, old: Rule, new: Rule) -> None:
        """Put `new` into the place of `old`."""
        rules = self._rules[old.is_egress]
        rules[rules.index(old)] = new

    def check_duplicates(self) -> None:
        """Refuse two rules with the same grant."""
        for rules in self._rules.values():
            seen = set()
            for rule in rules:
                if rule.grant in seen:
                    raise duplicate(rule.grant)
                seen.add(rule.grant)

    def _check_quota(self, rules: list[Rule]) -> None:
        """Mends: moto counts items of the request, neither by address family nor prefix lists by their size."""
        for family in (CIDR_V4, CIDR_V6):
            other = CIDR_V6 if family == CIDR_V4 else CIDR_V4
            weight = sum(self._weight(rule) for rule in rules if rule.grant.peer_kind != other)
            if weight > self._limit:
                raise AwsError(
                    "RulesPerSecurityGroupLimitExceeded",
                    "The maximum number of rules per security group has been reached.",
                )

    def _weight(self, rule: Rule) -> int:
        if rule.grant.peer_kind != PREFIX_LIST:
            return 1
        listed = self._backend.managed_prefix_lists.get(rule.grant.peer)
        if listed is None:
            return 1
        if listed.max_entries is not None:
            return int(listed.max_entries)
        return next((size for part, size in AWS_MANAGED_WEIGHTS.items() if part in listed.prefix_list_name), 1)
