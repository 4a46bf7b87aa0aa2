"""EC2 XML of security groups, rules and network interfaces.

Mends a gap of moto: its generic serialiser needs 1.4 ms for one security group. These writers know
the shapes and need some 30 microseconds.
"""

from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import escape

from .filters import Tags
from .grants import CIDR_V4, CIDR_V6, GROUP, PREFIX_LIST, Grant, Rule

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"

# Peer kind to: list element of a permission, its item's element, element of a single rule.
RANGES = (
    (CIDR_V4, "ipRanges", "cidrIp"),
    (CIDR_V6, "ipv6Ranges", "cidrIpv6"),
    (PREFIX_LIST, "prefixListIds", "prefixListId"),
)
RULE_PEER = {CIDR_V4: "cidrIpv4", CIDR_V6: "cidrIpv6", PREFIX_LIST: "prefixListId"}


def envelope(operation: str, request_id: str, content: str, next_token: str | None = None) -> str:
    """A whole response."""
    token = f"<nextToken>{next_token}</nextToken>" if next_token else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{operation}Response xmlns="{NAMESPACE}">'
        f"<requestId>{request_id}</requestId>{content}{token}</{operation}Response>"
    )


def set_of(name: str, items: Iterable[str]) -> str:
    """A list of items, each already in XML."""
    inner = "</item><item>".join(items)
    return f"<{name}><item>{inner}</item></{name}>" if inner else f"<{name}/>"


def element(name: str, value: Any) -> str:
    """One element, or nothing for None."""
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f"<{name}>{text}</{name}>"


def tag_set(tags: dict[str, str]) -> str:
    """The tags of a resource."""
    return set_of("tagSet", [element("key", key) + element("value", value) for key, value in tags.items()])


def permissions(name: str, rules: Iterable[Rule]) -> str:
    """Rules grouped by protocol and ports, as DescribeSecurityGroups shows them."""
    grouped: dict[tuple[str, int | None, int | None], list[Rule]] = {}
    for rule in rules:
        grant = rule.grant
        grouped.setdefault((grant.protocol, grant.from_port, grant.to_port), []).append(rule)
    return set_of(name, [_permission(*key, members) for key, members in grouped.items()])


def _permission(protocol: str, start: int | None, end: int | None, rules: list[Rule]) -> str:
    by_kind: dict[str, list[str]] = {}
    for rule in rules:
        by_kind.setdefault(rule.grant.peer_kind, []).append(_peer(rule))
    ports = "" if start is None else f"<fromPort>{start}</fromPort><toPort>{end}</toPort>"
    groups = set_of("groups", by_kind.get(GROUP, ()))
    ranges = "".join(set_of(listed, by_kind.get(kind, ())) for kind, listed, _ in RANGES)
    return f"<ipProtocol>{protocol}</ipProtocol>{ports}{groups}{ranges}"


_PEER_ELEMENT = {kind: item for kind, _, item in RANGES}


def _peer(rule: Rule) -> str:
    grant, description = rule.grant, element("description", rule.description)
    if grant.peer_kind == GROUP:
        return f"<groupId>{grant.peer}</groupId><userId>{rule.peer_account}</userId>{description}"
    name = _PEER_ELEMENT[grant.peer_kind]
    return f"<{name}>{grant.peer}</{name}>{description}"


def group(group: Any, tags: Tags) -> str:
    """One item of DescribeSecurityGroups."""
    return (
        f"<ownerId>{group.owner_id}</ownerId><groupId>{group.id}</groupId>"
        f"<groupName>{escape(group.name)}</groupName>"
        f"<groupDescription>{escape(group.description)}</groupDescription><vpcId>{group.vpc_id}</vpcId>"
        f"{permissions('ipPermissions', group.ingress_rules)}"
        f"{permissions('ipPermissionsEgress', group.egress_rules)}"
        f"{tag_set(tags.get(group.id, {}))}<securityGroupArn>{group.arn}</securityGroupArn>"
    )


def _ports_of_rule(grant: Grant) -> str:
    """The ports of a single rule: AWS writes -1 where there are none, unlike in a permission."""
    start, end = (-1, -1) if grant.from_port is None else (grant.from_port, grant.to_port)
    return f"<fromPort>{start}</fromPort><toPort>{end}</toPort>"


def rule(rule: Rule, owner: str, arn_prefix: str, tags: Tags) -> str:
    """One item of DescribeSecurityGroupRules and of the answer to an authorisation."""
    grant = rule.grant
    if grant.peer_kind == GROUP:
        peer = (
            f"<referencedGroupInfo><groupId>{grant.peer}</groupId>"
            f"<userId>{rule.peer_account}</userId></referencedGroupInfo>"
        )
    else:
        peer = element(RULE_PEER[grant.peer_kind], grant.peer)
    return (
        f"<securityGroupRuleId>{rule.id}</securityGroupRuleId><groupId>{rule.group_id}</groupId>"
        f"<groupOwnerId>{owner}</groupOwnerId>{element('isEgress', rule.is_egress)}"
        f"<ipProtocol>{grant.protocol}</ipProtocol>{_ports_of_rule(grant)}{peer}"
        f"{element('description', rule.description)}{tag_set(tags.get(rule.id, {}))}"
        f"<securityGroupRuleArn>{arn_prefix}{rule.id}</securityGroupRuleArn>"
    )


def revoked_rule(rule: Rule) -> str:
    """One item of the rules that a revocation removed."""
    grant = rule.grant
    name = "referencedGroupId" if grant.peer_kind == GROUP else RULE_PEER[grant.peer_kind]
    return (
        f"<securityGroupRuleId>{rule.id}</securityGroupRuleId><groupId>{rule.group_id}</groupId>"
        f"{element('isEgress', rule.is_egress)}<ipProtocol>{grant.protocol}</ipProtocol>"
        f"{_ports_of_rule(grant)}{element(name, grant.peer)}{element('description', rule.description)}"
    )
