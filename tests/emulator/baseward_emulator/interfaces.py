"""Network interfaces on the wire. Mends: moto's generic serialiser is too slow for thousands of them."""

from typing import Any

from . import wire
from .filters import Tags

FIELDS: dict[str, Any] = {
    "network-interface-id": lambda item: [item.id],
    "group-id": lambda item: [group.id for group in item.group_set],
    "group-name": lambda item: [group.name for group in item.group_set],
    "vpc-id": lambda item: [item.subnet.vpc_id],
    "subnet-id": lambda item: [item.subnet.id],
    "availability-zone": lambda item: [item.availability_zone],
    "description": lambda item: [item.description],
    "interface-type": lambda item: [item.interface_type],
    "status": lambda item: [item.status],
    "owner-id": lambda item: [item.owner_id],
    "requester-id": lambda item: [item.requester_id],
    "requester-managed": lambda item: [item.requester_managed],
    "mac-address": lambda item: [item.mac_address],
    "private-ip-address": lambda item: [item.private_ip_address],
    "addresses.private-ip-address": lambda item: [each["PrivateIpAddress"] for each in item.private_ip_addresses],
    "association.public-ip": lambda item: [item.public_ip] if item.public_ip else [],
    "attachment.instance-id": lambda item: [item.instance.id] if item.instance else [],
}


def interface_xml(interface: Any, tags: Tags) -> str:
    """One item of DescribeNetworkInterfaces."""
    groups = [
        wire.element("groupId", group.id) + wire.element("groupName", group.name) for group in interface.group_set
    ]
    return (
        f"<networkInterfaceId>{interface.id}</networkInterfaceId><subnetId>{interface.subnet.id}</subnetId>"
        f"<vpcId>{interface.subnet.vpc_id}</vpcId>"
        f"<availabilityZone>{interface.availability_zone}</availabilityZone>"
        f"{wire.element('description', interface.description)}<ownerId>{interface.owner_id}</ownerId>"
        f"{wire.element('requesterId', interface.requester_id)}"
        f"{wire.element('requesterManaged', interface.requester_managed)}<status>{interface.status}</status>"
        f"<macAddress>{interface.mac_address}</macAddress>"
        f"<privateIpAddress>{interface.private_ip_address}</privateIpAddress>"
        f"{wire.element('sourceDestCheck', interface.source_dest_check)}{wire.set_of('groupSet', groups)}"
        f"{_attachment(interface)}{_association(interface)}{wire.tag_set(tags.get(interface.id, {}))}"
        f"{_addresses(interface)}<interfaceType>{interface.interface_type}</interfaceType>"
    )


def _attachment(interface: Any) -> str:
    if not interface.attachment_id:
        return ""
    instance = interface.instance
    return (
        f"<attachment><attachmentId>{interface.attachment_id}</attachmentId>"
        f"<instanceId>{instance.id}</instanceId><instanceOwnerId>{instance.owner_id}</instanceOwnerId>"
        f"<deviceIndex>{interface.device_index}</deviceIndex><status>attached</status>"
        f"{wire.element('deleteOnTermination', bool(interface.delete_on_termination))}</attachment>"
    )


def _association(interface: Any) -> str:
    if not interface.public_ip:
        return ""
    return (
        f"<association><publicIp>{interface.public_ip}</publicIp>"
        f"<ipOwnerId>{interface.owner_id}</ipOwnerId></association>"
    )


def _addresses(interface: Any) -> str:
    items = [
        wire.element("privateIpAddress", address["PrivateIpAddress"])
        + wire.element("primary", bool(address.get("Primary")))
        for address in interface.private_ip_addresses
    ]
    ipv6 = [wire.element("ipv6Address", address) for address in interface.ipv6_addresses]
    return wire.set_of("privateIpAddressesSet", items) + wire.set_of("ipv6AddressesSet", ipv6)
