"""Settings of an account, as tests set them over the control API."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

# Runtimes that Lambda has long stopped to update; for those deprecated since June 2023 the date is still to come.
BLOCKED_RUNTIMES = (
    "nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "python2.7",
    "python3.6", "ruby2.5", "dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1",
)  # fmt: skip


def _blocked_runtimes() -> list[str]:
    return list(BLOCKED_RUNTIMES)


@dataclass(frozen=True)
class AccountSettings:
    """How AWS behaves in one account. The names are those of the control API."""

    externalId: str | None = None
    deniedRoles: list[str] = field(default_factory=list)
    deniedPrefixLists: list[str] = field(default_factory=list)
    atomicBatches: bool = True
    rulesPerSecurityGroup: int = 60
    rates: str | float = "aws"
    functionUpdateSeconds: float = 0
    failingUpdates: dict[str, str] = field(default_factory=dict)
    failedUpdates: str = "kept"
    kmsKeys: dict[str, str] = field(default_factory=dict)
    missingRoles: list[str] = field(default_factory=list)
    blockedRuntimes: list[str] = field(default_factory=_blocked_runtimes)
    concurrentExecutions: int = 1000

    @classmethod
    def parse(cls, given: Any) -> "AccountSettings":
        """Settings from JSON; what is not given has its default. Raises ValueError with a clear sentence."""
        if not isinstance(given, dict):
            raise ValueError("settings are a JSON object")
        for key, value in given.items():
            if key not in _CHECKS:
                raise ValueError(f"unknown setting {key!r}, known are {', '.join(_CHECKS)}")
            check, wanted = _CHECKS[key]
            if not check(value):
                raise ValueError(f"setting {key} is {wanted}, not {value!r}")
        return cls(**given)

    @property
    def rate_scale(self) -> float | None:
        """Factor on AWS's documented request rates, None without any limit."""
        if isinstance(self.rates, str):
            return 1.0 if self.rates == "aws" else None
        return float(self.rates)


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _is_strings_by_key(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "externalId": (lambda value: value is None or isinstance(value, str), "a string or null"),
    "deniedRoles": (_is_strings, "a list of role names"),
    "deniedPrefixLists": (_is_strings, "a list of prefix list ids"),
    "atomicBatches": (lambda value: isinstance(value, bool), "true or false"),
    "rulesPerSecurityGroup": (lambda value: _is_number(value) and isinstance(value, int), "a positive integer"),
    "rates": (lambda value: value in ("aws", "off") or _is_number(value), '"aws", "off" or a positive factor'),
    "functionUpdateSeconds": (lambda value: value == 0 or _is_number(value), "a number from 0"),
    "failingUpdates": (_is_strings_by_key, "an object from globs of function names to reason codes"),
    "failedUpdates": (lambda value: value in ("kept", "reverted"), '"kept" or "reverted"'),
    "kmsKeys": (_is_strings_by_key, "an object from key ARNs to error codes or reason codes"),
    "missingRoles": (_is_strings, "a list of globs of role ARNs"),
    "blockedRuntimes": (_is_strings, "a list of runtimes"),
    "concurrentExecutions": (lambda value: _is_number(value) and isinstance(value, int), "a positive integer"),
}


class Settings:
    """The settings of all accounts."""

    def __init__(self) -> None:
        self._accounts: dict[str, AccountSettings] = {}

    def of(self, account: str) -> AccountSettings:
        """The settings of one account."""
        return self._accounts.get(account, _DEFAULTS)

    def put(self, account: str, given: Any) -> None:
        """Replace the settings of one account."""
        self._accounts[account] = AccountSettings.parse(given)

    def as_json(self, account: str) -> dict[str, Any]:
        """The settings of one account as the control API shows them."""
        return asdict(self.of(account))


_DEFAULTS = AccountSettings()
