"""Tags of functions and code signing configurations."""

from dataclasses import replace
from typing import Any

from .errors import function_not_found, invalid, not_found
from .model import Function
from .operations import Operations, with_latest

LIMIT = 50


class Tags(Operations):
    """The operations."""

    def list_tags(self) -> dict[str, Any]:
        """The tags of a resource."""
        return {"Tags": self._present_tags()}

    def tag_resource(self) -> None:
        """Add tags and replace those of the same keys."""
        given = self.parameters["Tags"]
        if not given:
            raise invalid("An error occurred and the request cannot be processed.")
        tags = {**self._present_tags(), **given}
        if len(tags) > LIMIT:
            raise invalid("Number of tags exceeds resource tag limit.")
        self._put_tags(tags)

    def untag_resource(self) -> None:
        """Remove tags by their keys."""
        gone = self.parameters["TagKeys"]
        self._put_tags({key: value for key, value in self._present_tags().items() if key not in gone})

    def _present_tags(self) -> dict[str, str]:
        function = self._tagged()
        if function is not None:
            return function.tags
        return self.region.code_signing_tags.get(self.parameters["Resource"], {})

    def _put_tags(self, tags: dict[str, str]) -> None:
        function = self._tagged()
        if function is None:
            self.region.code_signing_tags[self.parameters["Resource"]] = tags
        elif tags != function.tags:
            tagged = with_tags(function, tags)
            self.write(function, versions=tagged.versions, tags=tagged.tags, ever_tagged=tagged.ever_tagged)

    def _tagged(self) -> Function | None:
        """The function that the call names, None for a code signing configuration."""
        arn = self.parameters["Resource"]
        if arn in self.region.code_signing_configs:
            return None
        if ":function:" not in arn:
            raise not_found(f"The resource {arn} does not exist.")
        named = self.named(arn)
        if named.qualifier:
            raise invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
        function = self.find(named.name)
        if function is None:
            raise function_not_found(arn)
        return function


def with_tags(function: Function, tags: dict[str, str]) -> Function:
    """A function with other tags, which moves its revision."""
    versions = with_latest(function, function.latest)
    return replace(function, versions=versions, tags=tags, ever_tagged=function.ever_tagged or bool(tags))
