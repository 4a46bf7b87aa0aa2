"""Faults that tests inject: which calls they hit, and what they do."""

import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from .call import Call, PageFault
from .errors import AwsError
from .grants import grant_of_record
from .lambda_.foreign import check_change
from .paging import PAGE_SIZES

# Error codes and statuses of each service for the same trouble.
ERRORS = {
    "throttle": {
        "cloudfront": AwsError("Throttling", "Rate exceeded", 400),
        "cloudtrail": AwsError("ThrottlingException", "Request limit exceeded.", 400),
        "ec2": AwsError("RequestLimitExceeded", "Request limit exceeded.", 503),
        "lambda": AwsError("TooManyRequestsException", "Rate exceeded", 429),
        "sts": AwsError("Throttling", "Rate exceeded", 400),
        "tagging": AwsError("ThrottledException", "Rate exceeded", 400),
    },
    "accessDenied": {
        "cloudfront": AwsError("AccessDenied", "You are not authorized to perform this operation.", 403),
        "cloudtrail": AwsError("AccessDeniedException", "You are not authorized to perform this operation.", 400),
        "ec2": AwsError("UnauthorizedOperation", "You are not authorized to perform this operation.", 403),
        "lambda": AwsError("AccessDeniedException", "You are not authorized to perform this operation.", 403),
        "sts": AwsError("AccessDenied", "You are not authorized to perform this operation.", 403),
        "tagging": AwsError("AccessDeniedException", "You are not authorized to perform this operation.", 400),
    },
    "expiredToken": {
        "cloudfront": AwsError("ExpiredToken", "The security token included in the request is expired", 403),
        "cloudtrail": AwsError("ExpiredTokenException", "Request has expired.", 400),
        "ec2": AwsError("RequestExpired", "Request has expired.", 400),
        "lambda": AwsError("ExpiredTokenException", "The security token included in the request is expired", 403),
        "sts": AwsError("ExpiredToken", "The security token included in the request is expired", 403),
        "tagging": AwsError("ExpiredTokenException", "The security token included in the request is expired", 400),
    },
    "internalError": {
        "cloudfront": AwsError("InternalFailure", "An internal error has occurred", 500),
        "cloudtrail": AwsError("InternalFailure", "An internal error has occurred", 500),
        "ec2": AwsError("InternalError", "An internal error has occurred", 500),
        "lambda": AwsError("ServiceException", "An error occurred and the request cannot be processed.", 500),
        "sts": AwsError("InternalFailure", "An internal error has occurred", 500),
        "tagging": AwsError("InternalServiceException", "An internal error has occurred", 500),
    },
}
COMMON = {"id", "service", "operation", "region", "principal", "resource", "nth", "times", "every", "kind"}
# Kinds that do not decide the answer by themselves and go together with others.
COMPANIONS = {"latency", "foreignWrite", "stale", "partialPage", "repeatToken"}
STALE_READS = {"DescribeSecurityGroups", "DescribeSecurityGroupRules", "GetResources"}


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_change(value: Any) -> bool:
    if isinstance(value, dict) and "function" in value:
        check_change(value)
        return True
    if not isinstance(value, dict) or not set(value) <= {"groupId", "authorize", "revoke"}:
        return False
    for side in ("authorize", "revoke"):
        for rule in value.get(side, []):
            if side == "authorize" or "ruleId" not in rule:
                grant_of_record(rule)
    return _is_text(value.get("groupId"))


# Kind to its own keys: the check and whether the key must be there.
KINDS: dict[str, dict[str, tuple[Any, bool]]] = {
    **{kind: {} for kind in ERRORS},
    "effectThenError": {},
    "effectThenHang": {"seconds": (_is_positive, False)},
    "hang": {"seconds": (_is_positive, False)},
    "reset": {},
    "effectThenReset": {},
    "truncate": {},
    "garbage": {"body": (_is_text, False)},
    "stale": {"seconds": (_is_positive, True)},
    "partialPage": {"items": (lambda value: _is_count(value, 1), True)},
    "repeatToken": {},
    "latency": {"milliseconds": (_is_positive, True)},
    "custom": {
        "code": (_is_text, True),
        "status": (lambda value: _is_count(value, 400) and value < 600, True),
        "message": (_is_text, False),
    },
    "foreignWrite": {"change": (_is_change, True)},
}


@dataclass
class FaultRule:
    """One rule and its counters: calls that matched it (`seen`) and calls that it hit (`fired`)."""

    given: dict[str, Any]
    seen: int = 0
    fired: int = 0

    def __post_init__(self) -> None:
        _check(self.given)
        self.kind: str = self.given["kind"]

    def due(self, call: Call) -> bool:
        """Count a call if it matches, and tell whether the rule is to hit it."""
        if not self._matches(call):
            return False
        self.seen += 1
        every = self.given.get("every")
        since = self.seen - self.given.get("nth", 1)
        if since < 0 or (every and since % every):
            return False
        times = self.given.get("times", None if every else 1)
        return times is None or self.fired < times

    def _matches(self, call: Call) -> bool:
        if self.kind == "stale" and not (call.operation in STALE_READS or (call.service == "lambda" and call.is_read)):
            return False
        if self.kind in ("partialPage", "repeatToken") and call.operation not in PAGE_SIZES:
            return False
        if self.given.get("resource", "") not in ("", *call.resources):
            return False
        asked = {"service": "ec2", "operation": "*", "region": "*", "principal": "*"}
        return all(fnmatchcase(getattr(call, name), self.given.get(name, default)) for name, default in asked.items())


def _check(given: Any) -> None:
    """Raise ValueError with a clear sentence about what is wrong with a rule."""
    if not isinstance(given, dict):
        raise ValueError(f"a fault is a JSON object, not {given!r}")
    kind = given.get("kind")
    if kind not in KINDS:
        raise ValueError(f"unknown fault kind {kind!r}, known are {', '.join(KINDS)}")
    own = KINDS[kind]
    if unknown := set(given) - COMMON - set(own):
        raise ValueError(f"fault {kind} has no key {min(unknown)!r}; its own keys are {', '.join(own) or 'none'}")
    for key, (check, required) in own.items():
        if (required and key not in given) or (key in given and not check(given[key])):
            raise ValueError(f"fault {kind} needs a valid {key!r}, not {given.get(key)!r}")
    for key in ("service", "operation", "region", "principal", "resource", "id"):
        if key in given and not _is_text(given[key]):
            raise ValueError(f"{key!r} of a fault is a string, not {given[key]!r}")
    for key in ("nth", "every", "times"):
        if given.get(key) is not None and not _is_count(given[key], 1):
            raise ValueError(f"{key!r} of a fault is a number from 1, not {given[key]!r}")


@dataclass
class FaultPlan:
    """What is to happen to one call. `main` decides the answer, the other fields go with it."""

    main: FaultRule | None = None
    kinds: list[str] = field(default_factory=list)
    delay: float = 0.0
    stale: float | None = None
    page: PageFault | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, rule: FaultRule) -> None:
        """Let a rule hit the call, unless one before it has decided the answer."""
        if rule.kind not in COMPANIONS:
            if self.main is not None:
                return
            self.main = rule
        elif rule.kind == "latency":
            self.delay += rule.given["milliseconds"] / 1000
        elif rule.kind == "foreignWrite":
            self.changes.append(rule.given["change"])
        elif rule.kind == "stale":
            self.stale = rule.given["seconds"]
        else:
            self.page = PageFault(repeat=rule.kind == "repeatToken", drop=rule.given.get("items", 0))
        rule.fired += 1
        self.kinds.append(rule.kind)

    def name(self) -> str | None:
        """What the ledger calls it."""
        return ",".join(self.kinds) or None


class Faults:
    """The rules of all accounts."""

    def __init__(self) -> None:
        self._rules: dict[str, list[FaultRule]] = {}
        self._lock = threading.Lock()

    def put(self, account: str, given: Any) -> None:
        """Replace the rules of an account; nothing changes if one is wrong."""
        if not isinstance(given, list):
            raise ValueError("faults are a JSON list")
        rules = [FaultRule(rule) for rule in given]
        with self._lock:
            self._rules[account] = rules

    def as_json(self, account: str) -> list[dict[str, Any]]:
        """The rules of an account with their counters."""
        with self._lock:
            return [{**rule.given, "seen": rule.seen, "fired": rule.fired} for rule in self._rules.get(account, [])]

    def plan(self, call: Call) -> FaultPlan:
        """What the rules of the caller's account, and of the account of the role it wants, do to a call."""
        plan = FaultPlan()
        with self._lock:
            for account in dict.fromkeys((call.account, call.target_account)):
                for rule in self._rules.get(account or "", []):
                    if rule.due(call):
                        plan.add(rule)
        return plan
