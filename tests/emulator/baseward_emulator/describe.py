"""Reads of security groups, rules and network interfaces.

Mends gaps of moto: no pages, missing filters, missing response fields, and seconds of work at scale.
"""

from typing import Any

from . import paging, wire
from .errors import AwsError
from .filters import select
from .grants import CIDR_V4, CIDR_V6, GROUP, PREFIX_LIST, Rule
from .interfaces import FIELDS as INTERFACE_FIELDS
from .interfaces import interface_xml
from .operations import Operations
from .permissions import group_not_found, rule_id_not_found


def _rule_fields(prefix: str, attribute: str) -> dict[str, Any]:
    """The `ip-permission.*` filters over one rule list of a group."""

    def peers(kind: str) -> Any:
        return lambda group: [rule.grant.peer for rule in getattr(group, attribute) if rule.grant.peer_kind == kind]

    def of_rules(value: Any) -> Any:
        return lambda group: [value(rule) for rule in getattr(group, attribute)]

    return {
        f"{prefix}.cidr": peers(CIDR_V4),
        f"{prefix}.ipv6-cidr": peers(CIDR_V6),
        f"{prefix}.prefix-list-id": peers(PREFIX_LIST),
        f"{prefix}.group-id": peers(GROUP),
        f"{prefix}.protocol": of_rules(lambda rule: rule.grant.protocol),
        f"{prefix}.from-port": of_rules(lambda rule: rule.grant.from_port),
        f"{prefix}.to-port": of_rules(lambda rule: rule.grant.to_port),
        f"{prefix}.user-id": of_rules(lambda rule: rule.peer_account),
    }


GROUP_FIELDS: dict[str, Any] = {
    "description": lambda group: [group.description],
    "group-id": lambda group: [group.id],
    "group-name": lambda group: [group.name],
    "owner-id": lambda group: [group.owner_id],
    "vpc-id": lambda group: [group.vpc_id],
    **_rule_fields("ip-permission", "ingress_rules"),
    **_rule_fields("egress.ip-permission", "egress_rules"),
}
RULE_FIELDS: dict[str, Any] = {
    "group-id": lambda rule: [rule.group_id],
    "security-group-rule-id": lambda rule: [rule.id],
}


class Describes(Operations):
    """The operations."""

    def describe_security_groups(self) -> str:
        """Groups with their rules, in pages."""
        parameters, backend = self.call.parameters, self.ec2_backend
        paging.check(self.call)
        self.error_on_dryrun()
        groups = self.groups_of(parameters.get("GroupIds"))
        if names := parameters.get("GroupNames"):
            groups = [group for group in groups if group.name in names]
            if absent := set(names) - {group.name for group in groups}:
                raise group_not_found(min(absent))
        selected = select(groups, self.conditions(), GROUP_FIELDS, backend.tags)
        items, token = paging.page(self.call, selected)
        content = wire.set_of("securityGroupInfo", [wire.group(group, backend.tags) for group in items])
        return self.answer(content, token)

    def describe_security_group_rules(self) -> str:
        """Rules one by one, in pages."""
        parameters, backend = self.call.parameters, self.ec2_backend
        paging.check(self.call)
        self.error_on_dryrun()
        conditions = self.conditions()
        wanted = _plain_group_ids(conditions)
        groups = [group for group in self.groups_of(None) if wanted is None or group.id in wanted]
        rules = [rule for group in groups for rule in (*group.ingress_rules, *group.egress_rules)]
        if ids := parameters.get("SecurityGroupRuleIds"):
            rules = _by_ids(rules, ids)
        selected = select(rules, conditions, RULE_FIELDS, backend.tags)
        items, token = paging.page(self.call, selected)
        owners = {group.id: group.owner_id for group in groups}
        written = [wire.rule(rule, owners[rule.group_id], self.rule_arn_prefix, backend.tags) for rule in items]
        content = wire.set_of("securityGroupRuleSet", written)
        return self.answer(content, token)

    def describe_network_interfaces(self) -> str:
        """Network interfaces, in pages."""
        parameters, backend = self.call.parameters, self.ec2_backend
        paging.check(self.call)
        self.error_on_dryrun()
        interfaces = backend.enis
        if ids := parameters.get("NetworkInterfaceIds"):
            if absent := [interface for interface in ids if interface not in interfaces]:
                raise AwsError(
                    "InvalidNetworkInterfaceID.NotFound", f"The network interface '{absent[0]}' does not exist"
                )
            found = [interfaces[interface] for interface in dict.fromkeys(ids)]
        else:
            found = list(interfaces.values())
        selected = select(found, self.conditions(), INTERFACE_FIELDS, backend.tags)
        items, token = paging.page(self.call, selected)
        content = wire.set_of("networkInterfaceSet", [interface_xml(item, backend.tags) for item in items])
        return self.answer(content, token)


def _plain_group_ids(conditions: list[dict[str, Any]]) -> set[str] | None:
    """The groups that a `group-id` condition without wildcards leaves; spares looking at all rules of an account."""
    for condition in conditions:
        values: list[str] = condition.get("Values", [])
        if condition.get("Name") == "group-id" and all(value.removeprefix("sg-").isalnum() for value in values):
            return set(values)
    return None


def _by_ids(rules: list[Rule], ids: list[str]) -> list[Rule]:
    known = {rule.id: rule for rule in rules}
    for rule_id in ids:
        if rule_id not in known:
            raise rule_id_not_found(rule_id)
    return [known[rule_id] for rule_id in dict.fromkeys(ids)]
