"""Function URLs, of functions and of aliases. They have no revision."""

import time
import uuid
from typing import Any

from ..errors import AwsError
from .errors import conflict, no_such_resource, not_found
from .model import Function, Region
from .operations import Operations


class Urls(Operations):
    """The operations."""

    def list_function_url_configs(self) -> dict[str, Any]:
        """All URLs of a function, in pages."""
        function, _ = self.function(absent=_no_function())
        return self.page("FunctionUrlConfigs", list(function.urls.values()))

    def get_function_url_config(self) -> dict[str, Any]:
        """One URL."""
        return self._url(*self.function(absent=no_such_resource()))

    def create_function_url_config(self) -> dict[str, Any]:
        """Make a URL with a host name that nothing had before."""
        function, qualifier = self._existing()
        if qualifier in function.urls:
            raise conflict(
                f"Failed to create function url config for [functionArn = {function.qualified(qualifier)}]. Error "
                "message:  FunctionUrlConfig exists for this Lambda function"
            )
        url = new_url(self.region, function.qualified(qualifier), uuid.uuid4().hex, self.parameters)
        self.write(function, urls={**function.urls, qualifier: url})
        return url

    def update_function_url_config(self) -> dict[str, Any]:
        """Change a URL; what the request does not have stays."""
        function, qualifier = self._existing()
        given = {name: value for name, value in self.parameters.items() if name in ("AuthType", "Cors", "InvokeMode")}
        url = {**self._url(function, qualifier), **given, "LastModifiedTime": _now()}
        if not url.get("Cors"):
            url.pop("Cors", None)
        self.write(function, urls={**function.urls, qualifier: url})
        return url

    def delete_function_url_config(self) -> None:
        """Delete a URL; its host name is gone for good."""
        function, qualifier = self.function(absent=no_such_resource())
        self._url(function, qualifier)
        self.write(function, urls={key: url for key, url in function.urls.items() if key != qualifier})

    def _existing(self) -> tuple[Function, str]:
        """The function and the qualifier, which must be one of its aliases."""
        function, qualifier = self.function(absent=_no_function())
        if qualifier and qualifier not in function.aliases:
            raise _no_function()
        return function, qualifier

    @staticmethod
    def _url(function: Function, qualifier: str) -> dict[str, Any]:
        if qualifier not in function.urls:
            raise no_such_resource()
        return function.urls[qualifier]


def new_url(region: Region, arn: str, identity: str, given: dict[str, Any]) -> dict[str, Any]:
    """A URL as its operations answer it."""
    cors = given.get("Cors")
    return {
        "FunctionUrl": f"https://{identity}.lambda-url.{region.name}.on.aws/",
        "FunctionArn": arn,
        "AuthType": given["AuthType"],
        **({"Cors": cors} if cors else {}),
        "CreationTime": _now(),
        "LastModifiedTime": _now(),
        "InvokeMode": given.get("InvokeMode", "BUFFERED"),
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())


def _no_function() -> AwsError:
    return not_found("Function does not exist")
