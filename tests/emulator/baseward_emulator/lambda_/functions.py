"""Functions and their configuration."""

import base64
import hashlib
from typing import Any

from ..parameters import operation_model
from . import lifecycle
from .configuration import changed, check_runtime, initial, now, runtime_version
from .dependencies import check_key, check_role, layer_list, vpc_config
from .errors import conflict, function_not_found, invalid
from .model import LATEST, Configuration, Function
from .operations import Operations, with_latest

# What ListFunctions and ListVersionsByFunction leave out.
NOT_LISTED = {
    "State", "StateReason", "StateReasonCode", "LastUpdateStatus", "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode", "RuntimeVersionConfig",
}  # fmt: skip


class Functions(Operations):
    """The operations."""

    def list_functions(self) -> dict[str, Any]:
        """Functions in pages of at most 50, without their states; all versions if asked for."""
        functions = list(self.region.functions.values())
        if master := self.parameters.get("MasterRegion"):
            functions = [each for each in functions if _is_replica_of(each, master)]
        if self.parameters.get("FunctionVersion") != "ALL":
            answer = self.page("Functions", functions)
            items = [listed(lifecycle.settled(self.region, each).latest) for each in answer["Functions"]]
            return {**answer, "Functions": items}
        present = [lifecycle.settled(self.region, each) for each in functions]
        every = [qualified(each, version) for each in present for version in each.versions]
        return self.page("Functions", [listed(configuration) for configuration in every])

    def get_function_configuration(self) -> Configuration:
        """The configuration of a function or of what a qualifier stands for, with its states."""
        return self.configuration_of(*self.function())

    def get_function(self) -> dict[str, Any]:
        """The configuration with a link to the code, the tags and the reserved concurrency."""
        function, qualifier = self.function()
        if function.image:
            code = {"RepositoryType": "ECR", "ImageUri": function.image, "ResolvedImageUri": function.image}
        else:
            host = f"awslambda-{self.call.region}-tasks.s3.{self.call.region}.amazonaws.com"
            location = f"https://{host}/snapshots/{self.call.account}/{function.name}?X-Amz-Expires=600"
            code = {"RepositoryType": "S3", "Location": location}
        answer = {"Configuration": self.configuration_of(function, qualifier), "Code": code}
        if function.tags:
            answer["Tags"] = function.tags
        if function.reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return answer

    def update_function_configuration(self) -> Configuration:
        """Change the configuration of `$LATEST`."""
        function, qualifier = self.function()
        if qualifier not in ("", LATEST):
            raise invalid("This operation is only permitted on the $LATEST version of a function.")
        self.check_revision(function)
        self.check_idle(function)
        configuration = self._requested(function.latest)
        state, transition = lifecycle.update(self.settings, function, configuration)
        kept = lifecycle.without_states(configuration, ("LastUpdateStatus",))
        versions = with_latest(function, {**kept, **state, "LastModified": now()})
        return self.write(function, versions=versions, transition=transition).latest

    def create_function(self) -> Configuration:
        """Make a function."""
        request = self.parameters
        name = self.named().name
        if name in self.region.functions:
            raise conflict(f"Function already exist: {name}")
        code, package = request["Code"], request.get("PackageType", "Zip")
        if package == "Zip" and not (request.get("Runtime") and request.get("Handler")):
            raise invalid("Runtime and Handler are mandatory for functions created with deployment packages.")
        start = initial(self.region, name, request["Role"], package, request.get("Runtime"))
        configuration = self._requested({**start, "Architectures": request.get("Architectures", ["x86_64"])})
        if "ZipFile" in code:
            packed = base64.b64decode(code["ZipFile"])
            configuration["CodeSha256"] = base64.b64encode(hashlib.sha256(packed).digest()).decode()
            configuration["CodeSize"] = len(packed)
        state, transition = lifecycle.creation(self.settings)
        function = Function(
            name,
            configuration["FunctionArn"],
            {LATEST: {**configuration, **state}},
            transition,
            tags=request.get("Tags", {}),
            ever_tagged=bool(request.get("Tags")),
            code_signing=request.get("CodeSigningConfigArn"),
            image=code.get("ImageUri"),
        )
        return self.write(function).latest

    def delete_function(self) -> None:
        """Delete a function with all that belongs to it, or one of its versions."""
        function, qualifier = self.function()
        if qualifier == LATEST:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        if qualifier in function.aliases:
            raise invalid("Deletion of aliases is not currently supported.")
        if qualifier:
            versions = {key: value for key, value in function.versions.items() if key != qualifier}
            self.write(function, versions=versions)
            return
        self.call.function_journal.touch(self.region, function.name)
        del self.region.functions[function.name]

    def configuration_of(self, function: Function, qualifier: str) -> Configuration:
        """The configuration that a qualifier stands for, under the qualified ARN."""
        version = function.version_of(qualifier)
        if version is None:
            raise function_not_found(function.qualified(qualifier))
        return {**function.versions[version], "FunctionArn": function.qualified(qualifier)}

    def _requested(self, old: Configuration) -> Configuration:
        """The configuration with all changes that the request asks for."""
        request = self.parameters
        configuration = changed(old, request)
        if "Runtime" in request and configuration["PackageType"] == "Zip":
            configuration["Runtime"] = request["Runtime"]
            configuration["RuntimeVersionConfig"] = runtime_version(self.call.region, request["Runtime"])
        check_runtime(self.settings, configuration, _known_runtimes(old.get("Runtime")))
        check_role(self.settings, configuration["Role"])
        check_key(self.settings, configuration)
        if "VpcConfig" in request:
            configuration["VpcConfig"] = vpc_config(self.region, request["VpcConfig"])
        if "Layers" in request:
            configuration["Layers"] = layer_list(self.region, request["Layers"])
            if not configuration["Layers"]:
                del configuration["Layers"]
        return configuration


def listed(configuration: Configuration) -> Configuration:
    """A configuration as lists show it."""
    return {name: value for name, value in configuration.items() if name not in NOT_LISTED}


def qualified(function: Function, version: str) -> Configuration:
    """A version under its qualified ARN."""
    return {**function.versions[version], "FunctionArn": function.qualified(version)}


def _is_replica_of(function: Function, region: str) -> bool:
    master = function.latest.get("MasterArn", "")
    return bool(master) and region in ("ALL", master.split(":")[3])


def _known_runtimes(present: str | None) -> list[str]:
    """The runtimes of the service model; a seeded function may keep another one."""
    model = operation_model("lambda", "CreateFunction")
    assert model is not None, "Lambda has this operation"
    known: list[str] = list(model.input_shape.members["Runtime"].enum)
    return known if present is None or present in known else [*known, present]
