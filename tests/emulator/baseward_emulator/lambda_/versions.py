"""Published versions, and aliases that point to them."""

from typing import Any

from .configuration import VOLATILE
from .errors import conflict, function_not_found, not_found
from .functions import NOT_LISTED, listed, qualified
from .lifecycle import without_states
from .model import LATEST, Configuration, Function, new_revision
from .operations import Operations, with_latest


class Versions(Operations):
    """The operations."""

    def list_versions_by_function(self) -> dict[str, Any]:
        """`$LATEST` and all versions, in pages, without their states."""
        function, _ = self.function()
        return self.page("Versions", [listed(qualified(function, version)) for version in function.versions])

    def publish_version(self) -> Configuration:
        """Keep the configuration of `$LATEST`; the same version again if nothing has changed since."""
        function, _ = self.function()
        self.check_revision(function)
        self.check_idle(function)
        numbers = [int(version) for version in function.versions if version != LATEST]
        if numbers and _lasting(function.versions[str(max(numbers))]) == _lasting(function.latest):
            return qualified(function, str(max(numbers)))
        version = str(max(numbers, default=0) + 1)
        published = {
            **without_states(function.latest),
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "Version": version,
            "FunctionArn": function.qualified(version),
            "RevisionId": new_revision(),
            "Description": self.parameters.get("Description", function.latest["Description"]),
        }
        versions = {**with_latest(function, function.latest), version: published}
        return qualified(self.write(function, versions=versions), version)

    def list_aliases(self) -> dict[str, Any]:
        """Aliases in pages; all, or those of one version."""
        function, _ = self.function()
        wanted = self.parameters.get("FunctionVersion")
        aliases = [each for each in function.aliases.values() if wanted in (None, each["FunctionVersion"])]
        return self.page("Aliases", aliases)

    def get_alias(self) -> dict[str, Any]:
        """One alias."""
        function, _ = self.function()
        name = self.parameters["Name"]
        if name not in function.aliases:
            raise not_found(f"Cannot find alias arn: {function.qualified(name)}")
        return function.aliases[name]

    def create_alias(self) -> dict[str, Any]:
        """Make an alias, which leaves the function's revision as it is."""
        function, _ = self.function()
        request = self.parameters
        if request["Name"] in function.aliases:
            raise conflict(f"Alias already exists: {function.qualified(request['Name'])}")
        if request["FunctionVersion"] not in function.versions:
            raise function_not_found(function.qualified(request["FunctionVersion"]))
        alias = new_alias(function, request["Name"], request["FunctionVersion"], request)
        self.write(function, aliases={**function.aliases, request["Name"]: alias})
        return alias


def new_alias(function: Function, name: str, version: str, given: dict[str, Any]) -> dict[str, Any]:
    """An alias as its operations answer it."""
    routing = given.get("RoutingConfig")
    return {
        "AliasArn": function.qualified(name),
        "Name": name,
        "FunctionVersion": version,
        "Description": given.get("Description", ""),
        **({"RoutingConfig": routing} if routing else {}),
        "RevisionId": new_revision(),
    }


def _lasting(configuration: Configuration) -> Configuration:
    return {name: value for name, value in configuration.items() if name not in VOLATILE | NOT_LISTED}
