"""Reads of subnets, route tables and NAT gateways.

Mends gaps of moto: no pages, missing filters, and NAT gateways that do not exist are no error.
"""

from typing import Any

from moto.core.responses import ActionResult

from . import paging
from .errors import AwsError
from .filters import select
from .operations import Operations

SUBNET_FIELDS: dict[str, Any] = {
    "availability-zone": lambda item: [item.availability_zone],
    "availability-zone-id": lambda item: [item.availability_zone_id],
    "cidr-block": lambda item: [item.cidr_block],
    "default-for-az": lambda item: [item.default_for_az],
    "map-public-ip-on-launch": lambda item: [item.map_public_ip_on_launch],
    "owner-id": lambda item: [item.owner_id],
    "state": lambda item: [item.state],
    "subnet-id": lambda item: [item.id],
    "vpc-id": lambda item: [item.vpc_id],
}


def _of_routes(name: str) -> Any:
    return lambda item: [value for route in item.routes if (value := getattr(route, name)) is not None]


def _of_associations(name: str) -> Any:
    return lambda item: [each[name] for each in item.associations if name in each]


ROUTE_TABLE_FIELDS: dict[str, Any] = {
    "association.gateway-id": _of_associations("GatewayId"),
    "association.main": _of_associations("Main"),
    "association.route-table-association-id": _of_associations("RouteTableAssociationId"),
    "association.route-table-id": _of_associations("RouteTableId"),
    "association.subnet-id": _of_associations("SubnetId"),
    "owner-id": lambda item: [item.owner_id],
    "route-table-id": lambda item: [item.id],
    "route.destination-cidr-block": _of_routes("destination_cidr_block"),
    "route.destination-ipv6-cidr-block": _of_routes("destination_ipv6_cidr_block"),
    "route.gateway-id": _of_routes("gateway_id"),
    "route.nat-gateway-id": _of_routes("nat_gateway_id"),
    "route.transit-gateway-id": _of_routes("transit_gateway_id"),
    "vpc-id": lambda item: [item.vpc_id],
}
NAT_GATEWAY_FIELDS: dict[str, Any] = {
    "nat-gateway-id": lambda item: [item.id],
    "state": lambda item: [item.state],
    "subnet-id": lambda item: [item.subnet_id],
    "vpc-id": lambda item: [item.vpc_id],
}


class Networks(Operations):
    """The operations."""

    def describe_subnets(self) -> ActionResult:
        """Subnets, in pages."""
        subnets = {each.id: each for zone in self.ec2_backend.subnets.values() for each in zone.values()}
        return self._described("Subnets", "SubnetIds", subnets, SUBNET_FIELDS, _unknown_subnet)

    def describe_route_tables(self) -> ActionResult:
        """Route tables, in pages."""
        tables = self.ec2_backend.route_tables
        return self._described("RouteTables", "RouteTableIds", tables, ROUTE_TABLE_FIELDS, _unknown_route_table)

    def describe_nat_gateways(self) -> ActionResult:
        """NAT gateways, in pages."""
        gateways = self.ec2_backend.nat_gateways
        return self._described("NatGateways", "NatGatewayIds", gateways, NAT_GATEWAY_FIELDS, _unknown_nat_gateway)

    def _described(self, name: str, ids_name: str, known: dict[str, Any], fields: Any, unknown: Any) -> ActionResult:
        paging.check(self.call)
        self.error_on_dryrun()
        ids = self.call.parameters.get(ids_name)
        if ids:
            if absent := [key for key in ids if key not in known]:
                raise unknown(absent[0])
            found = [known[key] for key in dict.fromkeys(ids)]
        else:
            found = list(known.values())
        selected = select(found, self.conditions(), fields, self.ec2_backend.tags)
        items, token = paging.page(self.call, selected)
        return ActionResult({name: items, "NextToken": token})


def _unknown_subnet(subnet: str) -> AwsError:
    return AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet}' does not exist")


def _unknown_route_table(table: str) -> AwsError:
    return AwsError("InvalidRouteTableID.NotFound", f"The routeTable ID '{table}' does not exist")


def _unknown_nat_gateway(gateway: str) -> AwsError:
    return AwsError("NatGatewayNotFound", f"The Nat Gateway {gateway} was not found")
