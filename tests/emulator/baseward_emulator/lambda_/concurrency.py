"""Reserved concurrency, and the account's limits that it is taken from."""

from typing import Any

from ..settings import AccountSettings
from .errors import function_not_found, invalid
from .model import Region
from .operations import Operations

UNRESERVED_MINIMUM = 100


class Concurrency(Operations):
    """The operations."""

    def get_account_settings(self) -> dict[str, Any]:
        """Limits and usage."""
        functions = self.region.functions.values()
        used = sum(each["CodeSize"] for function in functions for each in function.versions.values())
        return {
            "AccountLimit": {
                "TotalCodeSize": 80530636800,
                "CodeSizeUnzipped": 262144000,
                "CodeSizeZipped": 52428800,
                "ConcurrentExecutions": self.settings.concurrentExecutions,
                "UnreservedConcurrentExecutions": unreserved(self.region, self.settings),
            },
            "AccountUsage": {"TotalCodeSize": used, "FunctionCount": len(functions)},
        }

    def get_function_concurrency(self) -> dict[str, Any]:
        """The reservation of a function; nothing where there is none."""
        function, _ = self.function(unqualified=True)
        return {} if function.reserved is None else {"ReservedConcurrentExecutions": function.reserved}

    def put_function_concurrency(self) -> dict[str, Any]:
        """Reserve concurrency; a part of the account's stays unreserved. A reservation of 0 stops the function."""
        absent = function_not_found(self.region.arn("function", f"{self.named().name}:$LATEST"))
        function, _ = self.function(unqualified=True, absent=absent)
        wanted = self.parameters["ReservedConcurrentExecutions"]
        left = unreserved(self.region, self.settings) + (function.reserved or 0) - wanted
        if wanted > 0 and left < UNRESERVED_MINIMUM:
            raise invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{UNRESERVED_MINIMUM}]."
            )
        self.write(function, reserved=wanted)
        return {"ReservedConcurrentExecutions": wanted}

    def delete_function_concurrency(self) -> None:
        """Give a reservation back."""
        function, _ = self.function(unqualified=True)
        self.write(function, reserved=None)


def unreserved(region: Region, settings: AccountSettings) -> int:
    """What no function has reserved."""
    return settings.concurrentExecutions - sum(each.reserved or 0 for each in region.functions.values())
