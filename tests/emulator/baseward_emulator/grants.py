"""Security-group rules in canonical form.

Mends gaps of moto: it stores CIDRs and protocols as given (10.1.2.3/16, `tCp`), so it misses duplicates
and fails to find rules; it demands ports for protocols that have none; it drops the description of
prefix-list and referenced-group rules; and it changes rules in place, where one would like the old state.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.ec2.utils import random_security_group_rule_id

from .errors import AwsError, invalid, missing

CIDR_V4, CIDR_V6, PREFIX_LIST, GROUP = "cidrv4", "cidrv6", "prefixlist", "group"
PEER_KINDS = (CIDR_V4, CIDR_V6, PREFIX_LIST, GROUP)
PROTOCOL_NAMES = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1"}
NAMED = ("tcp", "udp", "icmp", "icmpv6")
DESCRIPTION = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a rule lets through: the part of a rule that no other rule of the group may repeat."""

    protocol: str
    from_port: int | None
    to_port: int | None
    peer_kind: str
    peer: str

    def __str__(self) -> str:
        ports = "" if self.from_port is None else f", from port: {self.from_port}, to port: {self.to_port}"
        protocol = "ALL" if self.protocol == "-1" else self.protocol.upper()
        return f"peer: {self.peer}, {protocol}{ports}, ALLOW"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one group. Never changed in place: a write puts a new rule into a new list."""

    id: str
    group_id: str
    is_egress: bool
    grant: Grant
    peer_account: str | None = None
    description: str | None = None

    # What moto's own code reads of a rule.
    @property
    def ip_range(self) -> dict[str, str]:
        """The CIDR in moto's form; empty for other peers."""
        key = {CIDR_V4: "CidrIp", CIDR_V6: "CidrIpv6"}.get(self.grant.peer_kind)
        return {key: self.grant.peer} if key else {}

    @property
    def source_group(self) -> dict[str, str]:
        """The referenced group in moto's form; empty for other peers."""
        if self.grant.peer_kind != GROUP:
            return {}
        return {"GroupId": self.grant.peer, "UserId": self.peer_account or ""}

    @property
    def prefix_list_id(self) -> str | None:
        """The prefix list; None for other peers."""
        return self.grant.peer if self.grant.peer_kind == PREFIX_LIST else None


def new_rule(
    group_id: str,
    is_egress: bool,
    grant: Grant,
    peer_account: str | None = None,
    description: str | None = None,
) -> Rule:
    """A rule with a fresh id."""
    return Rule(random_security_group_rule_id(), group_id, is_egress, grant, peer_account, description)


def rule_from_moto(_backend: Any, protocol: str, group_id: str, _from: Any, _to: Any, ip_range: dict[str, str]) -> Rule:
    """Stands in for moto's rule class where moto gives a new group its egress to everywhere."""
    kind, cidr = (CIDR_V4, ip_range["CidrIp"]) if "CidrIp" in ip_range else (CIDR_V6, ip_range["CidrIpv6"])
    return new_rule(group_id, True, Grant(protocol, None, None, kind, cidr))


def canonical(protocol: Any, from_port: Any, to_port: Any, peer_kind: str, peer: str) -> Grant:
    """The grant in the form in which AWS stores it; refuses what AWS refuses."""
    name = _protocol(protocol)
    ports = _ports(name, from_port, to_port)
    return Grant(name, *ports, peer_kind, canonical_peer(peer_kind, peer))


def canonical_peer(kind: str, peer: str) -> str:
    """A CIDR with its host bits cleared and, for IPv6, in the form of RFC 5952; other peers as given."""
    if kind not in (CIDR_V4, CIDR_V6):
        return peer
    network = ipaddress.IPv4Network if kind == CIDR_V4 else ipaddress.IPv6Network
    try:
        if "/" not in peer:
            raise ValueError(peer)
        return network(peer, strict=False).compressed
    except ValueError:
        raise invalid(f"CIDR block {peer} is malformed") from None


def check_description(text: str | None) -> str | None:
    """The description of a rule, None if empty; refuses characters that AWS refuses, which moto does not."""
    if text and not DESCRIPTION.fullmatch(text):
        raise invalid(
            "Invalid rule description. Valid descriptions are strings less than 256 characters "
            "from the following set: a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
        )
    return text or None


def _protocol(given: Any) -> str:
    if given is None:
        raise missing("ipProtocol")
    name = str(given).lower()
    name = PROTOCOL_NAMES.get(name, name)
    if name in NAMED or name == "-1" or (name.isdigit() and int(name) <= 255):
        return name
    raise invalid(f"Invalid value '{given}' for IP protocol. Unknown protocol.")


def _ports(protocol: str, start: Any, end: Any) -> tuple[int | None, int | None]:
    if protocol not in NAMED:
        return None, None  # AWS ignores ports for -1 and for protocols without a name
    if protocol == "icmpv6" and start is None:
        return -1, -1
    if start is None or end is None:
        raise invalid("Invalid value 'Must specify both from and to ports with TCP/UDP/ICMP.' for portRange.")
    low, high = int(start), int(end)
    if protocol in ("tcp", "udp"):
        valid = 0 <= low <= high <= 65535
    else:
        valid = -1 <= low <= 255 and -1 <= high <= 255 and (low != -1 or high == -1)
    if not valid:
        raise invalid(f"Invalid {protocol.upper()} port range ({low}:{high})")
    return low, high


def rule_record(rule: Rule, tags: Mapping[str, str]) -> dict[str, Any]:
    """The rule as the ledger and the control API show it."""
    grant = rule.grant
    return {
        "ruleId": rule.id,
        "protocol": grant.protocol,
        "fromPort": grant.from_port,
        "toPort": grant.to_port,
        "peerKind": grant.peer_kind,
        "peer": grant.peer,
        "peerAccount": rule.peer_account,
        "description": rule.description,
        "tags": dict(tags),
    }


def duplicate(grant: Grant) -> AwsError:
    """The error for a rule that the group has already."""
    return AwsError("InvalidPermission.Duplicate", f'the specified rule "{grant}" already exists')


def grant_of_record(record: Any, peers: Mapping[str, str] | None = None) -> Grant:
    """The grant of a rule in the ledger's shape; a peer `@key` is looked up in `peers`. Raises ValueError."""
    if not isinstance(record, dict) or record.get("peerKind") not in PEER_KINDS:
        raise ValueError(f"a rule is an object with a peerKind of {', '.join(PEER_KINDS)}, not {record!r}")
    peer = record.get("peer")
    if not isinstance(peer, str):
        raise ValueError(f"the peer of a rule is a string, not {peer!r}")
    if peer.startswith("@"):
        key, known = peer[1:], peers or {}
        if key not in known:
            raise ValueError(f"no group or prefix list has the key {key!r}")
        peer = known[key]
    try:
        return canonical(record.get("protocol"), record.get("fromPort"), record.get("toPort"), record["peerKind"], peer)
    except AwsError as error:
        raise ValueError(error.message) from None


def rule_of_record(group: Any, is_egress: bool, record: Any, peers: Mapping[str, str] | None = None) -> Rule:
    """A new rule of `group` from the ledger's shape, with its tags. Raises ValueError."""
    grant = grant_of_record(record, peers)
    account = (record.get("peerAccount") or group.ec2_backend.account_id) if grant.peer_kind == GROUP else None
    rule = new_rule(group.id, is_egress, grant, account, record.get("description"))
    if tags := record.get("tags"):
        group.ec2_backend.create_tags([rule.id], tags)
    return rule
