"""What somebody else does to a function between two steps of the client under test."""

from dataclasses import replace
from typing import Any

from .configuration import now
from .journal import FunctionJournal
from .lifecycle import in_progress, settled
from .model import Function, Policy, Region, new_revision
from .operations import with_latest
from .seed import add_function, check_function
from .seed_configuration import layers_of, merged
from .tags import with_tags
from .urls import new_url

KEYS: dict[str, Any] = {
    "function": str, "configuration": dict, "policy": dict, "url": dict, "tags": dict,
    "reservedConcurrency": (int, type(None)), "codeSigningConfig": (str, type(None)), "recursion": str,
    "runtimeManagement": dict, "updateSeconds": (int, float), "delete": bool, "create": dict,
}  # fmt: skip
URL_KEYS = {"qualifier", "authType", "cors", "invokeMode", "delete"}


def check_change(change: dict[str, Any]) -> None:
    """Raise ValueError with a clear sentence about what is wrong with a change."""
    for key, value in change.items():
        if key not in KEYS:
            raise ValueError(f"a change of a function has no key {key!r}, known are {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]):
            raise ValueError(f"{key!r} of a change of a function is wrong: {value!r}")
    if unknown := set(change.get("url", {})) - URL_KEYS:
        raise ValueError(f"a URL of a change has no key {min(unknown)!r}, known are {', '.join(sorted(URL_KEYS))}")
    for statements in change.get("policy", {}).values():
        if not isinstance(statements, list) or not all(isinstance(each, dict) for each in statements):
            raise ValueError(f"a policy of a change is a list of statements, not {statements!r}")
    if "create" in change:
        check_function({"name": change["function"], **change["create"]})


def change_function(region: Region, change: dict[str, Any]) -> tuple[FunctionJournal, bool]:
    """Apply a change; what it did, and whether there was a function to change.

    A configuration is merged member by member, null takes a member away; nothing is checked, and nothing is in
    progress afterwards unless `updateSeconds` says for how long. A policy replaces the one of its qualifier, an empty one takes it away. `delete` comes
    first and `create` second, so that both together make another function of the same name.
    """
    journal, name = FunctionJournal(), change["function"]
    if name in region.functions:
        settled(region, region.functions[name])
    journal.touch(region, name)
    if change.get("delete"):
        region.functions.pop(name, None)
    if "create" in change:
        add_function(region, {"name": name, **change["create"]})
    function = region.functions.get(name)
    if function is not None and not (change.get("delete") or "create" in change):
        region.functions[name] = _changed(region, function, change)
    journal.close()
    return journal, function is not None or journal.before[name] is not None


def _changed(region: Region, function: Function, change: dict[str, Any]) -> Function:
    if "configuration" in change:
        given = layers_of(change["configuration"])
        latest = merged(function.latest, {"LastModified": now(), **given})
        function = replace(function, versions=with_latest(function, latest))
    if seconds := change.get("updateSeconds"):
        state, transition = in_progress(seconds)
        function = replace(function, versions=with_latest(function, {**function.latest, **state}), transition=transition)
    if "tags" in change:
        tags = merged(function.tags, change["tags"])
        if tags != function.tags:
            function = with_tags(function, tags)
    for qualifier, statements in change.get("policy", {}).items():
        function = _with_policy(function, qualifier, statements)
    if "url" in change:
        function = _with_url(region, function, change["url"])
    if mode := change.get("runtimeManagement"):
        function = replace(function, runtime_management={**function.runtime_management, **mode})
    return replace(
        function,
        reserved=change.get("reservedConcurrency", function.reserved),
        code_signing=change.get("codeSigningConfig", function.code_signing),
        recursion=change.get("recursion", function.recursion),
    )


def _with_policy(function: Function, qualifier: str, statements: list[dict[str, Any]]) -> Function:
    policies = {key: policy for key, policy in function.policies.items() if key != qualifier}
    if statements:
        policies[qualifier] = Policy(new_revision(), tuple(statements))
    return replace(function, policies=policies)


def _with_url(region: Region, function: Function, given: dict[str, Any]) -> Function:
    qualifier = given.get("qualifier", "")
    old = function.urls.get(qualifier, {})
    urls = {key: url for key, url in function.urls.items() if key != qualifier}
    if not given.get("delete"):
        wire = {"AuthType": given.get("authType"), "Cors": given.get("cors"), "InvokeMode": given.get("invokeMode")}
        asked = {name: value for name, value in wire.items() if value is not None}
        identity = new_revision().replace("-", "")
        made = new_url(region, function.qualified(qualifier), identity, {"AuthType": "NONE", **asked})
        urls[qualifier] = {**made, **old, **asked}
    return replace(function, urls=urls)
