"""Seeding: straight into moto's models and the layer's own, without calls."""

import ipaddress
from types import SimpleNamespace
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.utils import random_eni_attach_id

from .checks import check_keys
from .cloudfront import HOME, add_distribution
from .ec2 import backend
from .grants import canonical_peer, rule_of_record
from .lambda_.model import Region, region_of
from .lambda_.seed import add_code_signing_config, add_function, add_layer
from .lambda_.seed_configuration import Ids
from .seed_networks import Networks

KEYS = {
    "seed": {
        "account", "region", "vpcs", "prefixLists", "groups", "interfaces", "clearDefaults", "internetGateways",
        "subnets", "natGateways", "routeTables", "codeSigningConfigs", "layers", "functions", "distributions",
    },
    "distribution": {"functions", "otherFunctions"},
    "vpc": {"key", "cidr", "default", "ipv6", "tags"},
    "prefix list": {"key", "name", "maxEntries", "ownerId", "entries", "tags"},
    "group": {"key", "name", "description", "vpc", "default", "ownerId", "tags", "ingress", "egress"},
    "interface": {
        "key", "groups", "vpc", "type", "description", "requesterId", "requesterManaged", "instanceId", "publicIp",
        "tags",
    },
}  # fmt: skip


def seed(given: Any) -> Ids:
    """Make everything that `given` describes; answers the ids by key. Raises ValueError."""
    check_keys("seed", given, KEYS["seed"])
    seeding = _Seeding(backend(given["account"], given["region"]))
    if given.get("clearDefaults"):
        seeding.clear_defaults()
    for vpc in given.get("vpcs", []):
        seeding.add_vpc(vpc)
    for listed in given.get("prefixLists", []):
        seeding.add_prefix_list(listed)
    for group in given.get("groups", []):
        seeding.add_group(group)
    for group in given.get("groups", []):
        seeding.add_rules(group)
    networks = Networks(seeding.owner, seeding.vpcs)
    networks.add_all(given)
    for interface in given.get("interfaces", []):
        seeding.add_interface(interface)
    for distribution in given.get("distributions", []):
        check_keys("distribution", distribution, KEYS["distribution"])
        versions = [distribution.get(key, []) for key in ("functions", "otherFunctions")]
        add_distribution(given["account"], *([_arn(given["account"], name) for name in names] for names in versions))
    ids = {
        "groups": seeding.groups,
        "prefixLists": seeding.prefix_lists,
        "interfaces": seeding.interfaces,
        "vpcs": seeding.vpcs,
        **networks.ids(),
    }
    return {**ids, **_seed_lambda(region_of(given["account"], given["region"]), given, ids)}


def _seed_lambda(region: Region, given: dict[str, Any], ids: Ids) -> Ids:
    """Code signing configurations, layers and functions, whose ARNs are answered by key or name."""
    configs = {config["key"]: add_code_signing_config(region, config) for config in given.get("codeSigningConfigs", [])}
    layers: dict[str, str] = {}
    for layer in given.get("layers", []):
        layers.update(add_layer(region, layer))
    known = {**ids, "codeSigningConfigs": configs, "layers": layers}
    functions = {each["name"]: add_function(region, each, known).arn for each in given.get("functions", [])}
    return {"codeSigningConfigs": configs, "layers": layers, "functions": functions}


class _Seeding:
    """One request's objects by their keys."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.vpcs: dict[str, str] = {}
        self.prefix_lists: dict[str, str] = {}
        self.groups: dict[str, str] = {}
        self.interfaces: dict[str, str] = {}

    def clear_defaults(self) -> None:
        """Remove what moto puts into every region: the AWS-managed prefix lists, and the default VPC's group."""
        managed = self.owner.managed_prefix_lists
        for key in [key for key, listed in managed.items() if listed.owner_id == "AWS"]:
            del managed[key]
        self.owner.groups[self.owner.default_vpc.id].clear()

    def add_vpc(self, given: dict[str, Any]) -> None:
        """A new VPC, or a key for the default one."""
        check_keys("vpc", given, KEYS["vpc"])
        if given.get("default"):
            vpc = self.owner.default_vpc
        else:
            vpc = self.owner.create_vpc(
                given.get("cidr", "10.0.0.0/16"), amazon_provided_ipv6_cidr_block=given.get("ipv6", False)
            )
        self.owner.create_tags([vpc.id], given.get("tags", {}))
        self.vpcs[given["key"]] = vpc.id

    def add_prefix_list(self, given: dict[str, Any]) -> None:
        """A prefix list, of the account itself or shared by another owner."""
        check_keys("prefix list", given, KEYS["prefix list"])
        entries = [_entry(entry) for entry in given.get("entries", [])]
        listed = self.owner.create_managed_prefix_list(
            address_family="IPv6" if any(":" in entry["Cidr"] for entry in entries) else "IPv4",
            entry=entries,
            max_entries=given.get("maxEntries", max(len(entries), 1)),
            prefix_list_name=given["name"],
            tags=given.get("tags"),
            owner_id=given.get("ownerId"),
        )
        self.prefix_lists[given["key"]] = listed.id

    def add_group(self, given: dict[str, Any]) -> None:
        """A group without its rules, which may refer to groups that come later."""
        check_keys("group", given, KEYS["group"])
        vpc_id = self._vpc(given.get("vpc"))
        if given.get("default"):
            group = self.owner.get_default_security_group(vpc_id)
        else:
            group = None
        if group is None:
            name = "default" if given.get("default") else given["name"]
            group = self.owner.create_security_group(
                name, given.get("description") or name, vpc_id=vpc_id, is_default=bool(given.get("default"))
            )
        group.owner_id = given.get("ownerId", group.owner_id)
        self.owner.create_tags([group.id], given.get("tags", {}))
        self.groups[given["key"]] = group.id

    def add_rules(self, given: dict[str, Any]) -> None:
        """The rules of a group; a direction that is not given stays as AWS makes it."""
        group = self.owner.get_security_group_from_id(self.groups[given["key"]])
        peers = {**self.prefix_lists, **self.groups}
        for direction, attribute in (("ingress", "ingress_rules"), ("egress", "egress_rules")):
            if direction in given:
                rules = [rule_of_record(group, direction == "egress", rule, peers) for rule in given[direction]]
                setattr(group, attribute, rules)

    def add_interface(self, given: dict[str, Any]) -> None:
        """A network interface of any type, attached to an instance that need not exist."""
        check_keys("interface", given, KEYS["interface"])
        ids = [self.groups.get(key.removeprefix("@"), key) for key in given.get("groups", [])]
        groups = [self.owner.get_security_group_from_id(group_id) for group_id in ids]
        if None in groups:
            raise ValueError(f"an interface has unknown groups: {given['groups']}")
        vpc_id = groups[0].vpc_id if groups else self._vpc(given.get("vpc"))
        interface = self.owner.create_network_interface(
            subnet_of(self.owner, vpc_id), None, group_ids=ids, description=given.get("description")
        )
        interface.interface_type = given.get("type", "interface")
        interface.requester_id = given.get("requesterId", interface.requester_id)
        interface.requester_managed = given.get("requesterManaged", False)
        interface.public_ip = given.get("publicIp")
        if instance_id := given.get("instanceId"):
            attach(interface, instance_id)
        self.owner.create_tags([interface.id], given.get("tags", {}))
        self.interfaces[given["key"]] = interface.id

    def _vpc(self, key: str | None) -> str:
        """A VPC by its key or id; without one the default VPC."""
        vpc_id = self.vpcs.get(key, key) if key else self.owner.default_vpc.id
        if vpc_id not in self.owner.vpcs:
            raise ValueError(f"no VPC has the key {key!r}")
        return vpc_id


def attach(interface: Any, instance_id: str) -> None:
    """Show an interface as attached to an instance of which nothing else exists."""
    interface.instance = SimpleNamespace(id=instance_id, owner_id=interface.owner_id, security_groups=[])
    interface.attachment_id, interface.attach_time = random_eni_attach_id(), utcnow()
    interface.status = "in-use"


def subnet_of(owner: Any, vpc_id: str) -> Any:
    """Any subnet of a VPC, made if there is none."""
    for subnets in owner.subnets.values():
        for subnet in subnets.values():
            if subnet.vpc_id == vpc_id:
                return subnet
    cidr = ipaddress.ip_network(owner.vpcs[vpc_id].cidr_block)
    return owner.create_subnet(vpc_id, str(cidr), availability_zone=next(iter(owner.subnets), None))


def _arn(account: str, version: str) -> str:
    """The ARN of a version of a function, written as `NAME:VERSION`, where CloudFront takes functions from."""
    return f"arn:aws:lambda:{HOME}:{account}:function:{version}"


def _entry(given: Any) -> dict[str, str]:
    check_keys("prefix list entry", given, {"cidr", "description"})
    family = "cidrv6" if ":" in given["cidr"] else "cidrv4"
    return {"Cidr": canonical_peer(family, given["cidr"]), "Description": given.get("description") or ""}
