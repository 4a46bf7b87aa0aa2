"""The record of all calls, in the order of their effects."""

import time
from bisect import bisect_right
from fnmatch import fnmatchcase
from typing import Any

from .call import Call


class Ledger:
    """All calls since the start. Not thread-safe by itself: an entry is written under the lock of its effect."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._last = 0

    def write(self, call: Call, status: int | None, error_code: str | None, fault: str | None, effect: bool) -> None:
        """Add a call. `status` is what the client is sent, None if it is sent nothing."""
        self._last += 1
        self._entries.append(
            {
                "seq": self._last,
                "time": time.time(),
                "account": call.account,
                "region": call.region,
                "principal": call.principal,
                "session": call.session,
                "userAgent": call.user_agent,
                "service": call.service,
                "operation": call.operation,
                "parameters": call.parameters,
                "status": status,
                "errorCode": error_code,
                "fault": fault,
                "effect": effect,
                "requestId": call.request_id,
                "groups": call.journal.groups,
                "functions": call.function_journal.functions,
                "layers": call.function_journal.layers,
            }
        )

    def read(self, account: str | None, after: int, operation: str) -> list[dict[str, Any]]:
        """Entries of an account (None: of all) with a higher `seq`, of operations that match a glob."""
        start = bisect_right(self._entries, after, key=lambda entry: entry["seq"])
        return [
            entry
            for entry in self._entries[start:]
            if account in (None, entry["account"]) and fnmatchcase(entry["operation"], operation)
        ]

    def clear(self, account: str | None) -> None:
        """Forget the entries of an account (None: of all); `seq` goes on."""
        self._entries = [entry for entry in self._entries if account not in (None, entry["account"])]
