"""Fleets: thousands of groups or functions, most of them good, made in seconds and the same for the same seed."""

import random
from collections.abc import Callable
from typing import Any

from moto.ec2.models import security_groups

from .checks import check_keys
from .ec2 import backend
from .grants import CIDR_V4, CIDR_V6, Grant, Rule, rule_record
from .lambda_.fleet import seed_functions
from .lambda_.model import region_of
from .seed import subnet_of

KEYS = {
    "account", "region", "groups", "rulesMin", "rulesMax", "bad", "badShare",
    "interfaces", "seed", "tags", "namePrefix", "functions", "badFunctions",
    "functionProblems",
}  # fmt: skip
ANYWHERE = {CIDR_V4: "0.0.0.0/0", CIDR_V6: "::/0"}
GOOD_PORTS = (80, 443, 8080, 8443, 5432, 6379, 9090, 22)
DATABASES = (1433, 3306, 5432, 6379, 27017)
INTERNAL_SSH = Grant("tcp", 22, 22, CIDR_V4, "10.0.0.0/8")


def _world(protocol: str, start: int | None, end: int | None, kind: str = CIDR_V4) -> Grant:
    return Grant(protocol, start, end, kind, ANYWHERE[kind])


# What is wrong with a bad group: name to the grants that make it so.
PROBLEMS: dict[str, Callable[[random.Random], list[Grant]]] = {
    "ssh": lambda _: [_world("tcp", 22, 22)],
    "rdpV6": lambda _: [_world("tcp", 3389, 3389, CIDR_V6)],
    "allTcp": lambda _: [_world("tcp", 0, 65535)],
    "allTraffic": lambda _: [_world("-1", None, None)],
    "allTrafficV6": lambda _: [_world("-1", None, None, CIDR_V6)],
    "database": lambda chance: [_world("tcp", port := chance.choice(DATABASES), port)],
    "sshBothFamilies": lambda _: [_world("tcp", 22, 22), _world("tcp", 22, 22, CIDR_V6)],
    "needsSplit": lambda _: [_world("tcp", 20, 443)],
    "needsRemoval": lambda _: [_world("tcp", 22, 22), INTERNAL_SSH],
}


# moto's constructor, called directly: its backend would look for a group of the same name each time.
_new_group: Any = security_groups.SecurityGroup


def seed_fleet(given: Any) -> dict[str, Any]:
    """Make a fleet; answers what is wrong with each bad group and function. Raises ValueError.

    A fleet that asks for functions has no groups, unless it asks for them too.
    """
    check_keys("fleet", given, KEYS)
    answer: dict[str, Any] = {"vpc": None, "groups": 0, "interfaces": 0, "bad": []}
    if "groups" in given or "functions" not in given:
        answer = _seed_groups(given)
    if "functions" in given:
        return {**answer, **seed_functions(region_of(given["account"], given["region"]), given)}
    return {**answer, "functions": 0, "badFunctions": []}


def _seed_groups(given: dict[str, Any]) -> dict[str, Any]:
    """The groups of a fleet in a VPC of their own."""
    owner = backend(given["account"], given["region"])
    count, number = given.get("groups", 10_000), given.get("seed", 42)
    chance = random.Random(f"{given['account']}/{given['region']}/{number}")
    bad = given.get("bad", round(count * given.get("badShare", 0.02)))
    if count < 1:
        raise ValueError(f"groups is a number from 1, not {count}")
    if not 0 <= bad <= count:
        raise ValueError(f"bad is a number from 0 to groups, not {bad}")
    problems = dict.fromkeys(chance.sample(range(count), bad))
    names = list(PROBLEMS)
    for position, index in enumerate(sorted(problems)):
        problems[index] = names[position % len(names)]
    vpc = owner.create_vpc("10.0.0.0/16")
    maker = _Maker(owner, vpc.id, given, chance)
    groups = [maker.group(index, problems.get(index)) for index in range(count)]
    for index in range(given.get("interfaces", 0)):
        maker.interface(index, groups[index % count])
    return {"vpc": vpc.id, "groups": count, "interfaces": given.get("interfaces", 0), "bad": maker.bad}


class _Maker:
    """Makes the groups of one fleet with ids that follow from its seed."""

    def __init__(self, owner: Any, vpc_id: str, given: dict[str, Any], chance: random.Random) -> None:
        self._backend, self._vpc_id, self._chance = owner, vpc_id, chance
        self._prefix, self._tags = given.get("namePrefix", "fleet"), given.get("tags", {})
        self._least, self._most = given.get("rulesMin", 5), given.get("rulesMax", 10)
        self._subnet = subnet_of(owner, vpc_id)
        self.bad: list[dict[str, Any]] = []

    def group(self, index: int, problem: str | None) -> Any:
        """One group, registered, with its rules."""
        group_id = self._id("sg")
        if self._backend.get_security_group_from_id(group_id):
            raise ValueError("this fleet exists already; give it another seed")
        group = _new_group(
            self._backend, group_id, f"{self._prefix}-{index}", f"Fleet group {index}", vpc_id=self._vpc_id
        )
        grants = dict.fromkeys(self._good_grants())
        if problem:
            wrong = PROBLEMS[problem](self._chance)
            grants.update(dict.fromkeys(wrong))
        rules = [Rule(self._id("sgr"), group_id, False, grant) for grant in grants]
        group.ingress_rules = rules
        self._backend.groups[self._vpc_id][group_id] = group
        if self._tags:
            self._backend.tags[group_id] = dict(self._tags)
        if problem:
            world = [rule_record(rule, {}) for rule in rules if rule.grant.peer in ANYWHERE.values()]
            self.bad.append({"groupId": group_id, "name": group.name, "problem": problem, "rules": world})
        return group

    def interface(self, index: int, group: Any) -> None:
        """One network interface in a group."""
        address = f"10.0.{index // 250 % 250}.{index % 250 + 4}"
        interface = self._backend.create_network_interface(self._subnet, address, group_ids=[group.id])
        del self._backend.enis[interface.id]
        interface.id = self._id("eni")
        self._backend.enis[interface.id] = interface

    def _good_grants(self) -> list[Grant]:
        """Internal rules, and the web port from anywhere in some groups."""
        chance = self._chance
        grants = [_world("tcp", 443, 443)] if chance.random() < 0.2 else []
        wanted = chance.randint(self._least, self._most)
        while len(grants) < wanted:
            port = chance.choice(GOOD_PORTS)
            grants.append(Grant("tcp", port, port, CIDR_V4, f"10.{chance.randrange(256)}.{chance.randrange(256)}.0/24"))
        return grants

    def _id(self, prefix: str) -> str:
        return f"{prefix}-{self._chance.getrandbits(68):017x}"
