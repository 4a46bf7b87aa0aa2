"""Code signing configurations and the functions that use them."""

import uuid
from typing import Any

from ..errors import AwsError
from .configuration import now
from .errors import not_found
from .model import Region
from .operations import Operations


class CodeSigning(Operations):
    """The operations."""

    def list_code_signing_configs(self) -> dict[str, Any]:
        """All configurations, in pages."""
        return self.page("CodeSigningConfigs", list(self.region.code_signing_configs.values()))

    def get_code_signing_config(self) -> dict[str, Any]:
        """One configuration."""
        return {"CodeSigningConfig": self._config()}

    def create_code_signing_config(self) -> dict[str, Any]:
        """Make a configuration; without a policy it only warns."""
        config = new_config(self.region, self.parameters)
        if tags := self.parameters.get("Tags"):
            self.region.code_signing_tags[config["CodeSigningConfigArn"]] = dict(tags)
        return {"CodeSigningConfig": config}

    def list_functions_by_code_signing_config(self) -> dict[str, Any]:
        """ARNs of the functions that use a configuration, in pages."""
        arn = self._config()["CodeSigningConfigArn"]
        users = [function.arn for function in self.region.functions.values() if function.code_signing == arn]
        return self.page("FunctionArns", users)

    def get_function_code_signing_config(self) -> dict[str, Any]:
        """What a function uses; nothing for one that uses none."""
        function, _ = self.function()
        if function.image:
            raise AwsError(
                "InvalidParameterValueException",
                "Code signing is not supported for functions created with container images.",
            )
        if function.code_signing is None:
            return {}
        return {"CodeSigningConfigArn": function.code_signing, "FunctionName": function.name}

    def put_function_code_signing_config(self) -> dict[str, Any]:
        """Have a function use a configuration."""
        arn = self.parameters["CodeSigningConfigArn"]
        if arn not in self.region.code_signing_configs:
            raise AwsError(
                "CodeSigningConfigNotFoundException",
                "The code signing configuration cannot be found. Check that the provided configuration is not "
                f"deleted: {arn}.",
                404,
            )
        function, _ = self.function()
        self.write(function, code_signing=arn)
        return {"CodeSigningConfigArn": arn, "FunctionName": function.name}

    def delete_function_code_signing_config(self) -> None:
        """Have a function use none."""
        function, _ = self.function()
        self.write(function, code_signing=None)

    def _config(self) -> dict[str, Any]:
        arn = self.parameters["CodeSigningConfigArn"]
        if arn not in self.region.code_signing_configs:
            raise not_found(f"The Lambda code signing configuration {arn} can not be found.")
        return self.region.code_signing_configs[arn]


def new_config(region: Region, given: dict[str, Any]) -> dict[str, Any]:
    """A new configuration, put into the region."""
    identity = f"csc-{uuid.uuid4().hex[:17]}"
    arn = region.arn("code-signing-config", identity)
    config = {
        "CodeSigningConfigId": identity,
        "CodeSigningConfigArn": arn,
        "Description": given.get("Description", ""),
        "AllowedPublishers": given["AllowedPublishers"],
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn", **given.get("CodeSigningPolicies", {})},
        "LastModified": now(),
    }
    region.code_signing_configs[arn] = config
    return config
