"""Before and after of the functions and layer versions that a call touches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .model import Function, LayerVersion, Region
from .record import function_record, layer_record


@dataclass
class FunctionJournal:
    """What one call did to functions and to layer versions; None is one that did or does not exist."""

    region: Region | None = None
    before: dict[str, Function | None] = field(default_factory=dict)
    before_layers: dict[tuple[str, int], LayerVersion | None] = field(default_factory=dict)
    functions: list[dict[str, Any]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)

    def touch(self, region: Region, name: str) -> None:
        """Note the state of a function that the call is about to make, change or delete."""
        self.region = region
        self.before.setdefault(name, region.functions.get(name))

    def touch_layer(self, region: Region, name: str, version: int) -> None:
        """The same for a version of a layer."""
        self.region = region
        self.before_layers.setdefault((name, version), region.layers.get(name, {}).get(version))

    def close(self) -> None:
        """Compare with the state after the call."""
        if self.region is None:
            return
        for name, old in self.before.items():
            new = self.region.functions.get(name)
            self.functions.append({"name": name, "before": _record(old), "after": _record(new)})
        for (layer, version), before in self.before_layers.items():
            after = self.region.layers.get(layer, {}).get(version)
            self.layers.append(
                {"name": layer, "version": version, "before": layer_record(before), "after": layer_record(after)}
            )

    @property
    def changed(self) -> bool:
        """Whether anything touched differs from before the call."""
        return any(entry["before"] != entry["after"] for entry in (*self.functions, *self.layers))


def _record(function: Function | None) -> dict[str, Any] | None:
    return function_record(function) if function else None


class FunctionHistory:
    """What the most recent write in each account and region replaced, for reads that are to be stale."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[float, dict[str, Function | None]]] = {}

    def record(self, journal: FunctionJournal) -> None:
        """Keep what a call replaced."""
        if journal.region is not None:
            self._last[journal.region.account, journal.region.name] = (time.monotonic(), journal.before)

    @contextmanager
    def before_last(self, region: Region, seconds: float) -> Iterator[None]:
        """Undo the most recent write, if it is younger than `seconds`, for the time of one read."""
        moment, old = self._last.get((region.account, region.name), (0.0, {}))
        if time.monotonic() - moment >= seconds:
            yield
            return
        present = region.functions
        past = {name: old.get(name) or function for name, function in present.items() if old.get(name, function)}
        past |= {name: function for name, function in old.items() if function}
        region.functions = past
        try:
            yield
        finally:
            region.functions = present
