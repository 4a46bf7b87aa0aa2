"""What a configuration refers to: roles, keys, subnets, security groups and layers."""

from fnmatch import fnmatchcase
from typing import Any

from ..ec2 import backend
from ..errors import AwsError
from ..settings import AccountSettings
from .configuration import NO_VPC
from .errors import invalid
from .model import Configuration, Region

LAYER_BYTES = 1024
# Answers to a key that Lambda cannot use; AWS writes them as if Lambda were only passing them on.
KMS_MESSAGES = {
    "KMSAccessDeniedException": "Lambda was unable to decrypt the environment variables because KMS access was denied. "
    "Please check the function's KMS key settings.",
    "KMSDisabledException": "Lambda was unable to decrypt the environment variables because the KMS key used is "
    "disabled. Please check the function's KMS key settings.",
    "KMSInvalidStateException": "Lambda was unable to decrypt the environment variables because the KMS key used is in "
    "an invalid state for Decrypt. Please check the function's KMS key settings.",
    "KMSNotFoundException": "Lambda was unable to decrypt the environment variables because the KMS key was not found. "
    "Please check the function's KMS key settings.",
}


def check_role(settings: AccountSettings, role: str) -> None:
    """Refuse a role that the settings say is missing."""
    if any(fnmatchcase(role, glob) for glob in settings.missingRoles):
        raise invalid("The role defined for the function cannot be assumed by Lambda.")


def check_key(settings: AccountSettings, configuration: Configuration) -> None:
    """Refuse a key if the settings have Lambda refuse it; others make the update fail later."""
    answer = settings.kmsKeys.get(configuration.get("KMSKeyArn", ""), "")
    if answer.endswith("Exception"):
        status = 400 if answer.startswith("InvalidParameter") else 502
        raise AwsError(answer, KMS_MESSAGES.get(answer, "The KMS key cannot be used."), status)


def vpc_config(region: Region, given: dict[str, Any]) -> dict[str, Any]:
    """The VPC settings that a request asks for; the VPC follows from the subnets. Empty lists take it away."""
    owner = backend(region.account, region.name)
    subnets, groups = given.get("SubnetIds", []), given.get("SecurityGroupIds", [])
    if not subnets and not groups:
        return dict(NO_VPC)
    if not subnets or not groups:
        raise invalid("SubnetIds and SecurityGroupIds must coexist or be both empty list.")
    known = {subnet.id: subnet for zone in owner.subnets.values() for subnet in zone.values()}
    for subnet in subnets:
        if subnet not in known:
            raise _lookup_failed("DescribeSubnets", "InvalidSubnetID.NotFound", f"The subnet ID '{subnet}'")
    for group in groups:
        if owner.get_security_group_from_id(group) is None:
            raise _lookup_failed("DescribeSecurityGroups", "InvalidGroup.NotFound", f"The security group '{group}'")
    return {
        "SubnetIds": subnets,
        "SecurityGroupIds": groups,
        "VpcId": known[subnets[0]].vpc_id,
        "Ipv6AllowedForDualStack": given.get("Ipv6AllowedForDualStack", False),
    }


def _lookup_failed(operation: str, code: str, what: str) -> AwsError:
    return invalid(
        f"Error occurred while {operation}. EC2 Error Code: {code}. EC2 Error Message: {what} does not exist"
    )


def layer_list(region: Region, arns: list[str]) -> list[dict[str, Any]]:
    """The layers that a request asks for. Those of other accounts are taken as they are."""
    if len(arns) > 5:
        raise invalid("Cannot reference more than 5 layers.")
    seen: dict[str, str] = {}
    layers = []
    for arn in arns:
        layer, _, version = arn.rpartition(":")
        if layer in seen:
            raise invalid(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[layer]} and {arn} are versions of the same layer."
            )
        seen[layer] = arn
        if layer.startswith(region.arn("layer", "")):
            known = region.layers.get(layer.rpartition(":")[2], {})
            if not version.isdigit() or int(version) not in known:
                raise invalid(f"Layer version {arn} does not exist.")
        layers.append({"Arn": arn, "CodeSize": LAYER_BYTES})
    return layers
