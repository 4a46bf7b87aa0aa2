"""CloudTrail's event history, made from the ledger. Mends: moto's CloudTrail has no LookupEvents.

What AWS records minutes later is there at once. Only events of EC2 and Lambda are recorded, those that read left out.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

from . import paging
from .call import Call, is_read
from .errors import AwsError
from .lambda_ import trail
from .ledger import Ledger

KEYS = {"EventId", "EventName", "EventSource", "ReadOnly", "ResourceName", "ResourceType", "Username", "AccessKeyId"}
SOURCES = {"ec2": "ec2.amazonaws.com", "lambda": trail.SOURCE}
RESOURCE_TYPES = {"sg": "AWS::EC2::SecurityGroup", "sgr": "AWS::EC2::SecurityGroupRule"}


class CloudTrail:
    """The CloudTrail API for one call."""

    def __init__(self, call: Call, ledger: Ledger) -> None:
        self.call, self._ledger = call, ledger

    def lookup_events(self) -> str:
        """The events of the caller's account and region, newest first."""
        paging.check(self.call)
        attribute = self._attribute()
        start, end = (self.call.parameters.get(name) for name in ("StartTime", "EndTime"))
        if start is not None and end is not None and start > end:
            raise AwsError("InvalidTimeRangeException", "The start time is after the end time.")
        wanted = [
            event
            for event in self._events()
            if (start is None or event["EventTime"] >= start)
            and (end is None or event["EventTime"] <= end)
            and (attribute is None or _has(event, *attribute))
        ]
        events, token = paging.page(self.call, wanted[::-1])
        return json.dumps({"Events": events, **({"NextToken": token} if token else {})})

    def _attribute(self) -> tuple[str, str] | None:
        given = self.call.parameters.get("LookupAttributes", [])
        if not given:
            return None
        if len(given) > 1 or given[0].get("AttributeKey") not in KEYS or not given[0].get("AttributeValue"):
            raise AwsError("InvalidLookupAttributesException", "You can only specify one lookup attribute at a time.")
        return given[0]["AttributeKey"], given[0]["AttributeValue"]

    def _events(self) -> Iterator[dict[str, Any]]:
        for entry in self._ledger.read(self.call.account, 0, "*"):
            if entry["service"] in SOURCES and entry["region"] == self.call.region and not is_read(entry["operation"]):
                own = trail.operations if entry["service"] == "lambda" else _operations
                for operation in own(entry):
                    yield _event(entry, operation)


def _event(entry: dict[str, Any], operation: str) -> dict[str, Any]:
    """An entry of the ledger as an event."""
    identity, when, source = _identity(entry), int(entry["time"]), SOURCES[entry["service"]]
    of_lambda = entry["service"] == "lambda"
    resources = trail.resources(entry) if of_lambda else _resources(entry)
    record = {
        "eventVersion": "1.09",
        "userIdentity": identity,
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)),
        "eventSource": source,
        "eventName": operation,
        "awsRegion": entry["region"],
        "userAgent": entry["userAgent"],
        "requestParameters": trail.request_parameters(entry) if of_lambda else entry["parameters"],
        "requestID": entry["requestId"],
        "eventID": f"{entry['requestId']}/{operation}",
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": entry["account"],
        "eventCategory": "Management",
    }
    if entry["errorCode"] and not entry["effect"]:
        record["errorCode"] = entry["errorCode"] if of_lambda else f"Client.{entry['errorCode']}"
    return {
        "EventId": record["eventID"],
        "EventName": operation,
        "ReadOnly": "false",
        "EventTime": when,
        "EventSource": source,
        "Username": entry["session"].rpartition(":")[2].rpartition("/")[2],
        "Resources": [{"ResourceType": kind, "ResourceName": name} for name, kind in resources.items()],
        "CloudTrailEvent": json.dumps(record),
    }


def _identity(entry: dict[str, Any]) -> dict[str, Any]:
    """`userIdentity` of whoever made a call."""
    account, session = entry["account"], entry["session"]
    identity = {"type": "IAMUser", "arn": session, "accountId": account}
    if session.endswith(":root"):
        return {**identity, "type": "Root"}
    if ":assumed-role/" in session:
        issuer = {"type": "Role", "arn": entry["principal"], "accountId": account}
        return {**identity, "type": "AssumedRole", "sessionContext": {"sessionIssuer": issuer}}
    return identity


def _operations(entry: dict[str, Any]) -> list[str]:
    """The calls that an entry stands for: a fault's write may be several, and none if it changed nothing."""
    if entry["operation"] != "ForeignWrite":
        return [entry["operation"]]
    if not entry["effect"]:
        return []
    names = []
    for verb in ("revoke", "authorize"):
        ways = {"Egress" if rule.get("egress") else "Ingress" for rule in entry["parameters"].get(verb, [])}
        names += [f"{verb.capitalize()}SecurityGroup{way}" for way in sorted(ways)]
    return names


def _resources(entry: dict[str, Any]) -> dict[str, str]:
    """The resources of an event with their types."""
    parameters = entry["parameters"]
    named = [parameters.get("GroupId"), parameters.get("groupId"), *parameters.get("Resources", [])]
    changed = [group["groupId"] for group in entry["groups"]]
    kinds = {name: RESOURCE_TYPES.get(name.partition("-")[0]) for name in [*named, *changed] if name}
    return {name: kind for name, kind in kinds.items() if kind}


def _has(event: dict[str, Any], key: str, value: str) -> bool:
    if key in ("ResourceName", "ResourceType"):
        return any(resource[key] == value for resource in event["Resources"])
    return event.get(key) == value
