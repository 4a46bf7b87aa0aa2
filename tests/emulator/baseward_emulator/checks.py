"""Checks of what tests send over the control API."""

from typing import Any


def check_keys(kind: str, given: Any, known: set[str]) -> None:
    """Refuse what is no object or has keys that nothing reads. Raises ValueError."""
    if not isinstance(given, dict):
        raise ValueError(f"a {kind} is a JSON object, not {given!r}")
    if unknown := set(given) - known:
        raise ValueError(f"a {kind} has no key {min(unknown)!r}, known are {', '.join(sorted(known))}")
