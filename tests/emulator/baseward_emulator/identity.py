"""Who calls: accounts, roles and sessions.

An access key id of twelve digits is the root of that account. AssumeRole gives keys that the layer
remembers. Mends gaps of moto: every other key is one default account, a trust policy's external id is
not compared, sessions never expire, and nothing tells which role a call came from.
"""

import re
import time
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.sts.responses import TokenResponse

from .call import Call
from .errors import AwsError
from .operations import prepare
from .settings import Settings

ROLE_ARN = re.compile(r"arn:[\w-]+:iam::(\d{12}):role/(?:.*/)?([\w+=,.@-]+)")
ACCOUNT = re.compile(r"\d{12}")


@dataclass(frozen=True)
class Caller:
    """Whom an access key stands for. `session_arn` and `user_id` are what GetCallerIdentity answers."""

    account: str
    principal: str
    session_arn: str
    user_id: str
    expires: float = float("inf")


class Sessions:
    """The credentials that AssumeRole has given out."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller] = {}

    def remember(self, role: Any) -> None:
        """Keep a session that moto has made."""
        self._callers[role.access_key_id] = Caller(
            account=role.account_id,
            principal=role.role_arn,
            session_arn=role.arn,
            user_id=role.user_id,
            expires=time.time() + (role.expiration - utcnow()).total_seconds(),
        )

    def caller(self, access_key: str) -> Caller | None:
        """Whom a key stands for, None for a key that nobody has given out."""
        if ACCOUNT.fullmatch(access_key):
            return Caller(access_key, "root", f"arn:aws:iam::{access_key}:root", access_key)
        return self._callers.get(access_key)


def role_account(role_arn: str | None) -> str | None:
    """The account of a role, None if the text is no role's ARN."""
    match = ROLE_ARN.fullmatch(role_arn or "")
    return match.group(1) if match else None


class Sts(TokenResponse):
    """The STS API for one call."""

    def __init__(self, call: Call, settings: Settings, sessions: Sessions) -> None:
        super().__init__()
        self.call = call
        prepare(self, call)
        self._settings, self._sessions = settings, sessions

    def assume_role(self) -> ActionResult:
        """Credentials for a role, if the settings of its account let the caller in."""
        self._check_trust(self.call.parameters.get("ExternalId"))
        return self._remembered(super().assume_role())

    def assume_role_with_web_identity(self) -> ActionResult:
        """Credentials for the role of a Kubernetes service account; the token is not looked at."""
        self._check_trust(None, compare_external_id=False)
        return self._remembered(super().assume_role_with_web_identity())

    def get_caller_identity(self) -> ActionResult:
        """The account and ARN of the caller."""
        caller = self._sessions.caller(self.call.access_key)
        assert caller is not None, "a call of an unknown key is refused before"
        return ActionResult({"UserId": caller.user_id, "Account": caller.account, "Arn": caller.session_arn})

    def _check_trust(self, external_id: str | None, compare_external_id: bool = True) -> None:
        role_arn = self.call.parameters.get("RoleArn", "")
        match = ROLE_ARN.fullmatch(role_arn)
        if match is None:
            raise AwsError("ValidationError", f"{role_arn} is invalid")
        settings = self._settings.of(match.group(1))
        wanted = settings.externalId
        refused = match.group(2) in settings.deniedRoles
        if refused or (compare_external_id and wanted is not None and external_id != wanted):
            raise AwsError(
                "AccessDenied",
                f"User: {self.call.principal} is not authorized to perform: sts:{self.call.operation} "
                f"on resource: {role_arn}",
                403,
            )

    def _remembered(self, result: ActionResult) -> ActionResult:
        answer: Any = result.result
        self._sessions.remember(answer["Credentials"])
        return result
