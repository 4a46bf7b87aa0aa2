"""Settings of an account, as tests set them over the control API."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class AccountSettings:
    """How AWS behaves in one account. The names are those of the control API."""

    externalId: str | None = None
    deniedRoles: list[str] = field(default_factory=list)
    deniedPrefixLists: list[str] = field(default_factory=list)
    atomicBatches: bool = True
    rulesPerSecurityGroup: int = 60
    rates: str | float = "aws"

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


_CHECKS = {
    "externalId": (lambda value: value is None or isinstance(value, str), "a string or null"),
    "deniedRoles": (_is_strings, "a list of role names"),
    "deniedPrefixLists": (_is_strings, "a list of prefix list ids"),
    "atomicBatches": (lambda value: isinstance(value, bool), "true or false"),
    "rulesPerSecurityGroup": (lambda value: _is_number(value) and isinstance(value, int), "a positive integer"),
    "rates": (lambda value: value in ("aws", "off") or _is_number(value), '"aws", "off" or a positive factor'),
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
