"""Seeding what routes traffic: internet gateways, subnets, NAT gateways and route tables."""

import ipaddress
from typing import Any

from .checks import check_keys

KEYS = {
    "internet gateway": {"key", "vpc", "tags"},
    "subnet": {"key", "vpc", "cidr", "zone", "public", "tags"},
    "NAT gateway": {"key", "subnet", "connectivity", "state", "tags"},
    "route table": {"key", "vpc", "main", "subnets", "routes", "tags"},
    "route": {"cidr", "ipv6Cidr", "internetGateway", "natGateway"},
}


class Networks:
    """One request's objects by their keys."""

    def __init__(self, owner: Any, vpcs: dict[str, str]) -> None:
        self._owner, self._vpcs = owner, vpcs
        self.internet_gateways: dict[str, str] = {}
        self.subnets: dict[str, str] = {}
        self.nat_gateways: dict[str, str] = {}
        self.route_tables: dict[str, str] = {}

    def add_all(self, given: dict[str, Any]) -> None:
        """Everything of a request, in an order in which each refers to what is there."""
        for gateway in given.get("internetGateways", []):
            self._add_internet_gateway(gateway)
        for subnet in given.get("subnets", []):
            self._add_subnet(subnet)
        for nat in given.get("natGateways", []):
            self._add_nat_gateway(nat)
        for table in given.get("routeTables", []):
            self._add_route_table(table)

    def ids(self) -> dict[str, dict[str, str]]:
        """The ids by key."""
        return {
            "internetGateways": self.internet_gateways,
            "subnets": self.subnets,
            "natGateways": self.nat_gateways,
            "routeTables": self.route_tables,
        }

    def _add_internet_gateway(self, given: dict[str, Any]) -> None:
        check_keys("internet gateway", given, KEYS["internet gateway"])
        gateway = self._owner.create_internet_gateway()
        self._owner.attach_internet_gateway(gateway.id, self._vpc(given.get("vpc")))
        self._tag(gateway.id, given)
        self.internet_gateways[given["key"]] = gateway.id

    def _add_subnet(self, given: dict[str, Any]) -> None:
        """A subnet in a zone of the region, which is given by its letter."""
        check_keys("subnet", given, KEYS["subnet"])
        zone = f"{self._owner.region_name}{given.get('zone', 'a')}"
        subnet = self._owner.create_subnet(self._vpc(given.get("vpc")), given["cidr"], availability_zone=zone)
        subnet.map_public_ip_on_launch = given.get("public", False)
        self._tag(subnet.id, given)
        self.subnets[given["key"]] = subnet.id

    def _add_nat_gateway(self, given: dict[str, Any]) -> None:
        check_keys("NAT gateway", given, KEYS["NAT gateway"])
        subnet = self.subnets.get(given["subnet"], given["subnet"])
        nat = self._owner.create_nat_gateway(subnet, "", connectivity_type=given.get("connectivity", "public"))
        nat.state = given.get("state", nat.state)
        self._tag(nat.id, given)
        self.nat_gateways[given["key"]] = nat.id

    def _add_route_table(self, given: dict[str, Any]) -> None:
        """A route table; `main` takes the one that the VPC has already."""
        check_keys("route table", given, KEYS["route table"])
        vpc_id = self._vpc(given.get("vpc"))
        if given.get("main"):
            tables = self._owner.route_tables.values()
            table = next(each for each in tables if each.vpc_id == vpc_id and each.main_association_id)
        else:
            table = self._owner.create_route_table(vpc_id)
        for key in given.get("subnets", []):
            self._owner.associate_route_table(table.id, subnet_id=self.subnets.get(key, key))
        for route in given.get("routes", []):
            self._add_route(table.id, route)
        self._tag(table.id, given)
        self.route_tables[given["key"]] = table.id

    def _add_route(self, table_id: str, given: dict[str, Any]) -> None:
        check_keys("route", given, KEYS["route"])
        internet, nat = given.get("internetGateway"), given.get("natGateway")
        self._owner.create_route(
            table_id,
            str(ipaddress.ip_network(given["cidr"])) if "cidr" in given else None,
            destination_ipv6_cidr_block=given.get("ipv6Cidr"),
            gateway_id=self.internet_gateways.get(internet, internet) if internet else None,
            nat_gateway_id=self.nat_gateways.get(nat, nat) if nat else None,
        )

    def _vpc(self, key: str | None) -> str:
        """A VPC by its key or id; without one the default VPC."""
        vpc_id: str = self._vpcs.get(key, key) if key else self._owner.default_vpc.id
        if vpc_id not in self._owner.vpcs:
            raise ValueError(f"no VPC has the key {key!r}")
        return vpc_id

    def _tag(self, resource: str, given: dict[str, Any]) -> None:
        self._owner.create_tags([resource], given.get("tags", {}))
