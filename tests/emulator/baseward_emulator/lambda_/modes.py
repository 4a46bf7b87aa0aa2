"""Smaller settings of functions, each behind its own operations: recursion, runtime updates, asynchronous events."""

import time
from typing import Any

from .errors import function_not_found, invalid
from .model import LATEST, Function
from .operations import Operations

ASYNCHRONOUS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


class Modes(Operations):
    """The operations."""

    def get_function_recursion_config(self) -> dict[str, Any]:
        """What happens to a function that calls itself in a loop."""
        function, _ = self.function()
        return {"RecursiveLoop": function.recursion}

    def put_function_recursion_config(self) -> dict[str, Any]:
        """Stop such loops or let them run."""
        function, _ = self.function()
        self.write(function, recursion=self.parameters["RecursiveLoop"])
        return {"RecursiveLoop": self.parameters["RecursiveLoop"]}

    def get_runtime_management_config(self) -> dict[str, Any]:
        """When a version gets new builds of its runtime."""
        function, qualifier = self._known()
        mode = function.runtime_management.get(qualifier, {"UpdateRuntimeOn": "Auto"})
        return {**mode, "FunctionArn": function.qualified(qualifier)}

    def put_runtime_management_config(self) -> dict[str, Any]:
        """Say when; a build is named with `Manual` and only with it."""
        function, qualifier = self._known()
        given = {name: self.parameters.get(name) for name in ("UpdateRuntimeOn", "RuntimeVersionArn")}
        mode = {name: value for name, value in given.items() if value}
        if (mode["UpdateRuntimeOn"] == "Manual") != ("RuntimeVersionArn" in mode):
            raise invalid("RuntimeVersionArn is required with UpdateRuntimeOn Manual and not allowed otherwise.")
        self.write(function, runtime_management={**function.runtime_management, qualifier: mode})
        return {**mode, "FunctionArn": function.qualified(qualifier)}

    def list_function_event_invoke_configs(self) -> dict[str, Any]:
        """Where asynchronous events go that fail or succeed, for all qualifiers, in pages."""
        function, _ = self.function()
        return self.page("FunctionEventInvokeConfigs", list(function.event_invoke.values()))

    def put_function_event_invoke_config(self) -> dict[str, Any]:
        """Replace that for one qualifier."""
        function, qualifier = self._known()
        if not any(name in self.parameters for name in ASYNCHRONOUS):
            raise invalid("You must specify at least one of error handling or destination setting.")
        config = event_invoke_config(function, qualifier, self.parameters)
        self.write(function, event_invoke={**function.event_invoke, qualifier: config})
        return config

    def _known(self) -> tuple[Function, str]:
        """The function and a qualifier of it, `$LATEST` if none is given."""
        function, qualifier = self.function()
        if function.version_of(qualifier) is None:
            raise function_not_found(function.qualified(qualifier))
        return function, qualifier or LATEST


def event_invoke_config(function: Function, qualifier: str, given: dict[str, Any]) -> dict[str, Any]:
    """Settings for asynchronous events as they are answered."""
    destinations = {"OnSuccess": {}, "OnFailure": {}, **given.get("DestinationConfig", {})}
    return {
        "LastModified": int(time.time()),
        "FunctionArn": function.qualified(qualifier),
        **{name: given[name] for name in ASYNCHRONOUS if name in given},
        "DestinationConfig": destinations,
    }
