"""Configurations as seeds describe them."""

from typing import Any

from ..ec2 import backend
from .configuration import runtime_version
from .dependencies import LAYER_BYTES
from .model import Configuration, Region

# Keys whose values become members of the configuration as they are.
PLAIN = {
    "runtime": "Runtime", "handler": "Handler", "role": "Role", "description": "Description", "timeout": "Timeout",
    "memorySize": "MemorySize", "kmsKeyArn": "KMSKeyArn", "architectures": "Architectures", "masterArn": "MasterArn",
    "codeSha256": "CodeSha256", "lastModified": "LastModified", "state": "State", "stateReason": "StateReason",
    "stateReasonCode": "StateReasonCode", "lastUpdateStatus": "LastUpdateStatus",
    "lastUpdateStatusReason": "LastUpdateStatusReason", "lastUpdateStatusReasonCode": "LastUpdateStatusReasonCode",
    "fileSystems": "FileSystemConfigs",
}  # fmt: skip
# Keys that take some work.
SETTINGS = {
    "environment", "environmentError", "vpc", "layers", "tracing", "deadLetter", "logging", "ephemeralStorage",
    "snapStart", "configuration",
}  # fmt: skip
# Ids of other seeds: kind to key to id.
Ids = dict[str, dict[str, str]]


def configured(region: Region, base: Configuration, given: dict[str, Any], ids: Ids) -> Configuration:
    """A configuration with what a seed says about it."""
    changes: Configuration = {member: given[key] for key, member in PLAIN.items() if key in given}
    if base["PackageType"] == "Image":
        changes.pop("Runtime", None)
    elif "runtime" in given:
        changes["RuntimeVersionConfig"] = runtime_version(region.name, given["runtime"])
    if "environment" in given:
        changes["Environment"] = {"Variables": given["environment"]}
    if error := given.get("environmentError"):
        message = "Lambda was unable to decrypt your environment variables because the KMS access was denied."
        sentence = {"ErrorCode": "AccessDeniedException", "Message": message}
        changes["Environment"] = {"Error": error if isinstance(error, dict) else sentence}
    if "vpc" in given:
        changes["VpcConfig"] = _vpc(region, given["vpc"], ids)
    if "layers" in given:
        changes["Layers"] = [id_of(ids, "layers", layer) for layer in given["layers"]]
    if "tracing" in given:
        changes["TracingConfig"] = {"Mode": given["tracing"]}
    if "deadLetter" in given:
        changes["DeadLetterConfig"] = {"TargetArn": given["deadLetter"]}
    if "logging" in given:
        changes["LoggingConfig"] = {**base["LoggingConfig"], **given["logging"]}
    if "ephemeralStorage" in given:
        changes["EphemeralStorage"] = {"Size": given["ephemeralStorage"]}
    if "snapStart" in given:
        changes["SnapStart"] = {"ApplyOn": given["snapStart"], "OptimizationStatus": "Off"}
    return merged(base, layers_of({**changes, **given.get("configuration", {})}))


def merged(old: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A dict with changes; null takes a key away."""
    return {key: value for key, value in {**old, **given}.items() if value is not None}


def layers_of(given: Configuration) -> Configuration:
    """A configuration whose layers may be plain ARNs."""
    if not given.get("Layers"):
        return given
    items = [{"Arn": item, "CodeSize": LAYER_BYTES} if isinstance(item, str) else item for item in given["Layers"]]
    return {**given, "Layers": items}


def id_of(ids: Ids, kind: str, key: str) -> str:
    """An id by the key of its seed, which may have an `@` in front; what is no key is an id itself."""
    return ids.get(kind, {}).get(key.removeprefix("@"), key)


def _vpc(region: Region, given: dict[str, Any], ids: Ids) -> dict[str, Any]:
    """VPC settings; the VPC is the subnets' unless it is given."""
    subnets = [id_of(ids, "subnets", key) for key in given.get("subnets", [])]
    known = backend(region.account, region.name).subnets.values()
    found = [zone[subnet].vpc_id for subnet in subnets for zone in known if subnet in zone]
    return {
        "SubnetIds": subnets,
        "SecurityGroupIds": [id_of(ids, "groups", key) for key in given.get("securityGroups", [])],
        "VpcId": id_of(ids, "vpcs", given["vpcId"]) if "vpcId" in given else next(iter(found), ""),
        "Ipv6AllowedForDualStack": False,
    }
