"""Seeding functions, layers and code signing configurations: straight into the model, without calls."""

import hashlib
import time
import uuid
from dataclasses import replace
from typing import Any

from ..checks import check_keys
from .code_signing import new_config
from .configuration import initial
from .layers import CARRIED, add_layer_version
from .model import LATEST, Configuration, Function, Policy, Region, Transition, new_revision
from .modes import event_invoke_config
from .seed_configuration import PLAIN, SETTINGS, Ids, configured, id_of
from .urls import new_url
from .versions import new_alias

BELONGINGS = {
    "name", "packageType", "imageUri", "tags", "urls", "policy", "aliases", "versions", "reservedConcurrency",
    "codeSigningConfig", "recursion", "runtimeManagement", "eventInvoke", "settlesAfter",
}  # fmt: skip
FUNCTION_KEYS = {*PLAIN, *SETTINGS, *BELONGINGS}
NESTED_KEYS = {
    "version": {*PLAIN, *SETTINGS},
    "alias": {"name", "version", "description", "routing"},
    "url": {"qualifier", "authType", "cors", "invokeMode"},
    "vpc": {"subnets", "securityGroups", "vpcId"},
    "layer": {"name", "versions"},
    "layer version": {"policy", "description", "compatibleRuntimes", "compatibleArchitectures", "licenseInfo"},
    "code signing config": {"key", "description", "policy", "publishers", "tags"},
}


def check_function(given: Any) -> None:
    """Raise ValueError for what describes no function."""
    check_keys("function", given, FUNCTION_KEYS)
    if not isinstance(given.get("name"), str):
        raise ValueError(f"a function has a name, not {given.get('name')!r}")
    for kind, items in (("version", "versions"), ("alias", "aliases"), ("url", "urls")):
        for item in given.get(items, []):
            check_keys(kind, item, NESTED_KEYS[kind])
    if "vpc" in given:
        check_keys("vpc of a function", given["vpc"], NESTED_KEYS["vpc"])


def add_function(region: Region, given: dict[str, Any], ids: Ids | None = None) -> Function:
    """A function with all that belongs to it. Raises ValueError."""
    check_function(given)
    name, package = given["name"], given.get("packageType", "Zip")
    role = given.get("role", f"arn:aws:iam::{region.account}:role/{name}")
    base = initial(region, name, role, package, given.get("runtime", "python3.13"))
    states = {"State": "Active", "LastUpdateStatus": "Successful"}
    base |= {"RevisionId": _stable(base["FunctionArn"], "revision"), **states}
    ids, registry = ids or {}, f"{region.account}.dkr.ecr.{region.name}.amazonaws.com"
    latest = configured(region, base, given, ids)
    versions = {LATEST: latest, **_versions(region, latest, given, ids)}
    function = Function(
        name,
        latest["FunctionArn"],
        versions,
        _transition(latest, given),
        tags=given.get("tags", {}),
        ever_tagged=bool(given.get("tags")),
        reserved=given.get("reservedConcurrency"),
        code_signing=id_of(ids, "codeSigningConfigs", given.get("codeSigningConfig", "")) or None,
        recursion=given.get("recursion", "Terminate"),
        runtime_management=given.get("runtimeManagement", {}),
        image=given.get("imageUri", f"{registry}/{name}:1") if package == "Image" else None,
    )
    function = _with_belongings(region, function, given)
    region.functions[name] = function
    return function


def add_layer(region: Region, given: dict[str, Any]) -> dict[str, str]:
    """A layer; the ARNs of its versions by `name:number`, and its own by name. Raises ValueError."""
    check_keys("layer", given, NESTED_KEYS["layer"])
    name = given["name"]
    arns = {name: region.arn("layer", name)}
    for number, version in enumerate(given.get("versions", [{}]), start=1):
        check_keys("layer version", version, NESTED_KEYS["layer version"])
        wire = {key: version[key[0].lower() + key[1:]] for key in CARRIED if key[0].lower() + key[1:] in version}
        statements = version.get("policy")
        policy = Policy(new_revision(), tuple(statements)) if statements else None
        added = add_layer_version(region, name, number, wire, policy)
        arns[f"{name}:{number}"] = added.summary["LayerVersionArn"]
    return arns


def add_code_signing_config(region: Region, given: dict[str, Any]) -> str:
    """A code signing configuration; its ARN. Raises ValueError."""
    check_keys("code signing config", given, NESTED_KEYS["code signing config"])
    publishers = given.get("publishers", [f"arn:aws:signer:{region.name}:{region.account}:/signing-profiles/seed/1"])
    wire = {
        "Description": given.get("description", ""),
        "AllowedPublishers": {"SigningProfileVersionArns": publishers},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": given.get("policy", "Warn")},
    }
    arn: str = new_config(region, wire)["CodeSigningConfigArn"]
    if tags := given.get("tags"):
        region.code_signing_tags[arn] = tags
    return arn


def _versions(region: Region, latest: Configuration, given: dict[str, Any], ids: Ids) -> dict[str, Configuration]:
    """Published versions, numbered from 1; each is `$LATEST` with what its own seed says."""
    versions = {}
    for number, version in enumerate(given.get("versions", []), start=1):
        configuration = configured(region, latest, version, ids)
        arn = f"{latest['FunctionArn']}:{number}"
        own = {"Version": str(number), "FunctionArn": arn, "RevisionId": _stable(arn, "revision")}
        versions[str(number)] = {**configuration, **own}
    return versions


def _transition(latest: Configuration, given: dict[str, Any]) -> Transition | None:
    """What a seeded state becomes; one without `settlesAfter` lasts."""
    if "settlesAfter" not in given:
        return None
    ends = {"LastUpdateStatus": "Successful"}
    if latest["State"] == "Pending":
        ends["State"] = "Active"
    return Transition(time.monotonic() + given["settlesAfter"], ends)


def _with_belongings(region: Region, function: Function, given: dict[str, Any]) -> Function:
    aliases = {
        alias["name"]: new_alias(
            function,
            alias["name"],
            alias.get("version", LATEST),
            {
                "Description": alias.get("description", ""),
                "RoutingConfig": {"AdditionalVersionWeights": alias["routing"]} if alias.get("routing") else None,
            },
        )
        for alias in given.get("aliases", [])
    }
    urls = {}
    for url in given.get("urls", []):
        qualifier = url.get("qualifier", "")
        arn = function.qualified(qualifier)
        wire = {"AuthType": url["authType"], "Cors": url.get("cors"), "InvokeMode": url.get("invokeMode", "BUFFERED")}
        urls[qualifier] = new_url(region, arn, hashlib.sha256(arn.encode()).hexdigest()[:32], wire)
    policies = {
        qualifier: Policy(_stable(function.qualified(qualifier), "policy"), tuple(statements))
        for qualifier, statements in given.get("policy", {}).items()
        if statements
    }
    events = {
        qualifier or LATEST: event_invoke_config(function, qualifier or LATEST, config)
        for qualifier, config in given.get("eventInvoke", {}).items()
    }
    return replace(function, aliases=aliases, urls=urls, policies=policies, event_invoke=events)


def _stable(arn: str, what: str) -> str:
    """A revision that is the same in each run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{arn}#{what}"))
