"""Functions and layer versions as the ledger and the control API show them."""

import hashlib
from typing import Any

from .model import LATEST, Configuration, Function, LayerVersion, Policy


def function_record(function: Function, values: bool = False) -> dict[str, Any]:
    """The whole state of a function; without `values` its variables show digests in place of their values."""
    return {
        "name": function.name,
        "arn": function.arn,
        "configuration": _configuration(function.latest, values),
        "versions": {
            version: _configuration(configuration, values)
            for version, configuration in function.versions.items()
            if version != LATEST
        },
        "aliases": function.aliases,
        "policies": {qualifier: policy_record(policy) for qualifier, policy in function.policies.items()},
        "urls": function.urls,
        "reservedConcurrency": function.reserved,
        "tags": function.tags,
        "codeSigningConfig": function.code_signing,
        "recursion": function.recursion,
        "runtimeManagement": function.runtime_management,
        "eventInvoke": function.event_invoke,
    }


def layer_record(version: LayerVersion | None) -> dict[str, Any] | None:
    """A version of a layer, None for none."""
    if version is None:
        return None
    return {**version.summary, "policy": policy_record(version.policy) if version.policy else None}


def policy_record(policy: Policy) -> dict[str, Any]:
    """A policy with its revision."""
    return {"revisionId": policy.revision, "statements": list(policy.statements)}


def _configuration(configuration: Configuration, values: bool) -> Configuration:
    environment = configuration.get("Environment", {})
    if values or "Variables" not in environment:
        return configuration
    digests = {name: _digest(value) for name, value in environment["Variables"].items()}
    return {**configuration, "Environment": {**environment, "Variables": digests}}


def _digest(value: str) -> str:
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:16]}"
