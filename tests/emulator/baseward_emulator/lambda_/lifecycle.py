"""States that time changes: a new function becomes active, an update ends.

Nothing runs in the background; what is due is made up for when somebody looks. As on AWS, the end of an update
moves the function's RevisionId once more.
"""

import time
from collections.abc import Collection
from dataclasses import replace
from fnmatch import fnmatchcase

from ..settings import AccountSettings
from .model import LATEST, Configuration, Function, Region, Transition, new_revision

CREATING = "The function is being created."
# The two states of a function; each may come with a reason and its code.
STATES = ("State", "LastUpdateStatus")
REASONS = {
    "DisabledKMSKey": "Lambda was unable to use the KMS key because the key is disabled.",
    "InvalidStateKMSKey": "Lambda was unable to use the KMS key because the state of the key is invalid.",
    "KMSKeyAccessDenied": "Lambda was unable to use the KMS key because access was denied.",
    "KMSKeyNotFound": "Lambda was unable to use the KMS key because the key was not found.",
    "EniLimitExceeded": "The limit of network interfaces has been reached.",
    "InsufficientRolePermissions": "The role has no permission for what the configuration needs.",
    "InvalidSecurityGroup": "One or more of the security groups are invalid.",
    "InvalidSubnet": "One or more of the subnets are invalid.",
    "SubnetOutOfIPAddresses": "One or more of the subnets have no IP addresses left.",
}


def settled(region: Region, function: Function) -> Function:
    """The function as it is by now."""
    transition = function.transition
    if transition is None or time.monotonic() < transition.due:
        return function
    base = transition.restored or function.latest
    latest = {**without_states(base, transition.ends), **transition.ends, "RevisionId": new_revision()}
    function = replace(function, versions={**function.versions, LATEST: latest}, transition=None)
    region.functions[function.name] = function
    return function


def settle_all(region: Region) -> None:
    """Bring all functions of a region up to now."""
    for function in list(region.functions.values()):
        settled(region, function)


def without_states(configuration: Configuration, states: Collection[str] = STATES) -> Configuration:
    """A configuration without the given states and their reasons."""
    gone = {f"{state}{part}" for state in STATES if state in states for part in ("", "Reason", "ReasonCode")}
    return {name: value for name, value in configuration.items() if name not in gone}


def creation(settings: AccountSettings) -> tuple[Configuration, Transition]:
    """The state of a new function and what becomes of it."""
    state = {"State": "Pending", "StateReason": CREATING, "StateReasonCode": "Creating"}
    ends = {"State": "Active", "LastUpdateStatus": "Successful"}
    return state, Transition(time.monotonic() + settings.functionUpdateSeconds, ends)


def update(settings: AccountSettings, function: Function, changed: Configuration) -> tuple[Configuration, Transition]:
    """The state of a function whose configuration has just been changed, and what becomes of it."""
    state = {
        "LastUpdateStatus": "InProgress",
        "LastUpdateStatusReason": CREATING,
        "LastUpdateStatusReasonCode": "Creating",
    }
    ends, restored = {"LastUpdateStatus": "Successful"}, None
    if failure := _failure(settings, function.name, changed):
        reason = REASONS.get(failure, "The update failed.")
        ends = {
            "LastUpdateStatus": "Failed",
            "LastUpdateStatusReason": reason,
            "LastUpdateStatusReasonCode": failure,
        }
        restored = function.latest if settings.failedUpdates == "reverted" else None
    return state, Transition(time.monotonic() + settings.functionUpdateSeconds, ends, restored)


def in_progress(seconds: float) -> tuple[Configuration, Transition]:
    """The state of a function that somebody updates for so long, which succeeds."""
    return {"LastUpdateStatus": "InProgress"}, Transition(time.monotonic() + seconds, {"LastUpdateStatus": "Successful"})


def _failure(settings: AccountSettings, name: str, changed: Configuration) -> str | None:
    """The reason code with which an update is going to fail."""
    key = settings.kmsKeys.get(changed.get("KMSKeyArn", ""))
    if key is not None and not key.endswith("Exception"):
        return key
    return next((code for glob, code in settings.failingUpdates.items() if fnmatchcase(name, glob)), None)
