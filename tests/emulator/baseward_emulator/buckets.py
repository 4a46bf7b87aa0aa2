"""Request rates: token buckets per account and region, mostly one per operation. Mends: moto never throttles."""

import time
from dataclasses import dataclass

from .call import Call


@dataclass(frozen=True)
class Rate:
    """Size of a bucket and tokens that come back per second."""

    capacity: float
    refill: float


NON_MUTATING, UNFILTERED, MUTATING = Rate(100, 20), Rate(50, 10), Rate(50, 5)

# From the page "Request throttling for the Amazon EC2 API"; AWS calls the two security-group
# operations resource-intensive, which has the numbers of the other mutating ones.
OWN_RATES = {
    "AuthorizeSecurityGroupIngress": Rate(50, 5),
    "RevokeSecurityGroupIngress": Rate(50, 5),
    "DescribeSecurityGroupReferences": Rate(20, 5),
    "DescribeStaleSecurityGroups": Rate(20, 5),
    "ModifyNetworkInterfaceAttribute": Rate(100, 5),
    "CreateTags": Rate(100, 10),
    "DeleteTags": Rate(100, 10),
    # From the API reference of CloudTrail.
    "LookupEvents": Rate(2, 2),
    # AWS publishes no rate of the tagging API; this one is assumed.
    "GetResources": Rate(15, 15),
}

# From the page "Lambda quotas": one rate for the whole control plane but two operations. Bursts are not
# documented and taken to be one second's worth; GetResourcePolicy is taken to share the rate of GetPolicy.
CONTROL_PLANE = ("Lambda", Rate(15, 15))
LAMBDA_RATES = {
    "GetFunction": ("GetFunction", Rate(100, 100)),
    "GetPolicy": ("GetPolicy", Rate(15, 15)),
    "GetResourcePolicy": ("GetPolicy", Rate(15, 15)),
}

# Operations that have a smaller bucket for calls with neither page size nor filter nor ids.
PAGE_OR_FILTER = {
    "DescribeSecurityGroups": ("MaxResults", "NextToken", "Filters", "GroupIds", "GroupNames"),
    "DescribeNetworkInterfaces": ("MaxResults", "NextToken", "Filters", "NetworkInterfaceIds"),
}


def rate_of(call: Call) -> tuple[str, Rate]:
    """Name and rate of the bucket that a call draws from."""
    operation = call.operation
    if call.service == "lambda":
        return LAMBDA_RATES.get(operation, CONTROL_PLANE)
    if operation in OWN_RATES:
        return operation, OWN_RATES[operation]
    limiting = PAGE_OR_FILTER.get(operation)
    if limiting and not any(name in call.parameters for name in limiting):
        return f"{operation}/unfiltered", UNFILTERED
    return operation, NON_MUTATING if call.is_read else MUTATING


class Buckets:
    """All buckets. Not thread-safe by itself."""

    def __init__(self) -> None:
        self._levels: dict[tuple[str, str, str], tuple[float, float]] = {}

    def take(self, call: Call, scale: float | None) -> bool:
        """Take a token for a call; False if its bucket is empty. STS has no limit here."""
        if scale is None or call.service == "sts":
            return True
        name, rate = rate_of(call)
        key, now = (call.account, call.region, name), time.monotonic()
        level, last = self._levels.get(key, (rate.capacity * scale, now))
        level = min(rate.capacity * scale, level + (now - last) * rate.refill * scale)
        enough = level >= 1
        self._levels[key] = (level - 1 if enough else level, now)
        return enough

    def refill(self, account: str) -> None:
        """Forget the levels of one account."""
        self._levels = {key: level for key, level in self._levels.items() if key[0] != account}
