"""Rules as requests describe them: IpPermissions, the flat old form, and single-rule requests."""

from dataclasses import dataclass
from typing import Any

from .errors import AwsError, invalid, missing, not_implemented
from .grants import (
    CIDR_V4,
    CIDR_V6,
    GROUP,
    PREFIX_LIST,
    Grant,
    Rule,
    canonical,
    check_description,
)

FLAT = ("IpProtocol", "FromPort", "ToPort")


@dataclass(frozen=True)
class RuleSpec:
    """One rule that a request asks for."""

    grant: Grant
    peer_account: str | None
    description: str | None


def specs(backend: Any, group: Any, parameters: dict[str, Any], known_only: bool = True) -> list[RuleSpec]:
    """All rules of a request in its order; `known_only` demands that referenced resources exist."""
    found = [
        _spec(backend, group, permission, kind, peer, known_only)
        for permission in _permissions(parameters)
        for kind, peer in _peers(permission)
    ]
    if not found:
        raise missing("ipPermissions")
    return found


def single(backend: Any, group: Any, request: dict[str, Any], old: Rule) -> RuleSpec:
    """The new form of `old` in ModifySecurityGroupRules, which may not change the kind of peer."""
    names = {"CidrIpv4": CIDR_V4, "CidrIpv6": CIDR_V6, "PrefixListId": PREFIX_LIST, "ReferencedGroupId": GROUP}
    given = [(kind, request[name]) for name, kind in names.items() if name in request]
    if len(given) != 1:
        raise invalid("Exactly one of CidrIpv4, CidrIpv6, PrefixListId and ReferencedGroupId must be specified")
    kind, peer = given[0]
    if kind != old.grant.peer_kind:
        raise invalid(f"You cannot change the rule type of {old.id}: the source or destination must stay of its type")
    grant = canonical(request.get("IpProtocol"), request.get("FromPort"), request.get("ToPort"), kind, peer)
    account = old.peer_account
    if peer != old.grant.peer:
        account = _check_peer(backend, group, kind, {_KEYS[kind]: peer})
    return RuleSpec(grant, account, check_description(request.get("Description")))


_KEYS = {CIDR_V4: "CidrIp", CIDR_V6: "CidrIpv6", PREFIX_LIST: "PrefixListId", GROUP: "GroupId"}
_LISTS = {CIDR_V4: "IpRanges", CIDR_V6: "Ipv6Ranges", PREFIX_LIST: "PrefixListIds", GROUP: "UserIdGroupPairs"}


def _permissions(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    if "SourceSecurityGroupName" in parameters:
        raise not_implemented("SourceSecurityGroupName, use IpPermissions")
    if "CidrIp" not in parameters:
        structured: list[dict[str, Any]] = parameters.get("IpPermissions", [])
        return structured
    flat = {name: parameters[name] for name in FLAT if name in parameters}
    return [{**flat, "IpRanges": [{"CidrIp": parameters["CidrIp"]}]}]


def _peers(permission: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(kind, peer) for kind, name in _LISTS.items() for peer in permission.get(name, [])]


def _spec(
    backend: Any, group: Any, permission: dict[str, Any], kind: str, peer: dict[str, Any], known_only: bool
) -> RuleSpec:
    if kind == GROUP and "GroupId" not in peer and "GroupName" in peer:
        named = backend.get_security_group_from_name(peer["GroupName"], group.vpc_id)
        peer = {**peer, "GroupId": named.id if named else peer["GroupName"]}
    if not peer.get(_KEYS[kind]):
        raise missing(_KEYS[kind])
    grant = canonical(
        permission.get("IpProtocol"), permission.get("FromPort"), permission.get("ToPort"), kind, peer[_KEYS[kind]]
    )
    account = _check_peer(backend, group, kind, peer) if known_only else peer.get("UserId")
    return RuleSpec(grant, account, check_description(peer.get("Description")))


def _check_peer(backend: Any, group: Any, kind: str, peer: dict[str, Any]) -> str | None:
    """Refuse an unknown prefix list or group; the account of a referenced group."""
    if kind == PREFIX_LIST and peer["PrefixListId"] not in backend.managed_prefix_lists:
        # Mends: moto accepts rules for prefix lists that do not exist.
        raise prefix_list_not_found(peer["PrefixListId"])
    if kind != GROUP:
        return None
    account: str = peer.get("UserId", backend.account_id)
    if account not in (backend.account_id, group.owner_id):
        return account  # a group behind a VPC peering, which AWS does not look into either
    referenced = backend.get_security_group_from_id(peer["GroupId"])
    if referenced is None:
        raise group_not_found(peer["GroupId"])
    owner: str = referenced.owner_id
    return owner


def group_not_found(group_id: Any) -> AwsError:
    """The error for an unknown group."""
    return AwsError("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")


def rule_id_not_found(rule_id: Any) -> AwsError:
    """The error for an unknown rule id."""
    return AwsError("InvalidSecurityGroupRuleId.NotFound", f"The security group rule ID '{rule_id}' does not exist")


def prefix_list_not_found(prefix_list_id: Any) -> AwsError:
    """The error for an unknown prefix list."""
    return AwsError("InvalidPrefixListID.NotFound", f"The prefix list ID '{prefix_list_id}' does not exist")
