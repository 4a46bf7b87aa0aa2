"""Configurations: how they start, and what a request makes of them.

A member that a request does not have keeps its value, one that it has replaces the old value as a whole.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from ..settings import AccountSettings
from .errors import invalid
from .model import LATEST, Configuration, Region, new_revision

NO_VPC = {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": False}
LOG_LEVELS = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
# Not what the service model allows, which has room for managed instances too.
LIMITS = {"Timeout": 900, "MemorySize": 10240}
ENVIRONMENT_BYTES = 4096
RESERVED_VARIABLES = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_ACCESS_KEY",
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}  # fmt: skip
# What a version shares with the one before if nothing has changed in between.
VOLATILE = {"RevisionId", "LastModified", "Version", "FunctionArn", "Description"}


def now() -> str:
    """The present time as Lambda writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime())


def runtime_version(region: str, runtime: str) -> dict[str, str]:
    """Which build of a runtime a function uses."""
    return {"RuntimeVersionArn": f"arn:aws:lambda:{region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"}


def initial(region: Region, name: str, role: str, package: str = "Zip", runtime: str | None = None) -> Configuration:
    """The configuration of a new function, states apart."""
    zipped: Configuration = {}
    if package == "Zip":
        zipped = {"Runtime": runtime, "Handler": "index.handler"}
        zipped["RuntimeVersionConfig"] = runtime_version(region.name, runtime or "")
    return {
        "FunctionName": name,
        "FunctionArn": region.arn("function", name),
        **zipped,
        "Role": role,
        "CodeSize": 1024 if package == "Zip" else 0,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": now(),
        "CodeSha256": hashlib.sha256(name.encode()).hexdigest(),
        "Version": LATEST,
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": new_revision(),
        "PackageType": package,
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }


Apply = Callable[[Configuration, Any], Any]


def _same(_configuration: Configuration, value: Any) -> Any:
    return value


def _environment(_configuration: Configuration, value: dict[str, Any]) -> dict[str, Any]:
    variables = value.get("Variables", {})
    if reserved := sorted(RESERVED_VARIABLES & set(variables)):
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
            f"this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"))
    if len(measured.encode()) > ENVIRONMENT_BYTES:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured}"
        )
    return {"Variables": variables}


def _logging(configuration: Configuration, value: dict[str, Any]) -> dict[str, Any]:
    """Log settings are the only ones that are merged; JSON brings levels, text has none."""
    old = configuration["LoggingConfig"]
    merged = {**old, **value}
    if merged["LogFormat"] == "JSON":
        return {**LOG_LEVELS, **merged}
    if LOG_LEVELS.keys() & value.keys():
        raise invalid(
            'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change '
            'the LogFormat to "JSON" and try again.'
        )
    return {name: item for name, item in merged.items() if name not in LOG_LEVELS}


def _limited(name: str) -> Apply:
    def apply(_configuration: Configuration, value: int) -> int:
        if value > LIMITS[name]:
            raise invalid(
                f"'{name}' value failed to satisfy constraint: Member must have value less than or equal to "
                f"{LIMITS[name]}"
            )
        return value

    return apply


def _storage(_configuration: Configuration, value: dict[str, int]) -> dict[str, int]:
    if value["Size"] > 10240:
        raise invalid(
            "'EphemeralStorage' value failed to satisfy constraint: Member must have value less than or equal to 10240"
        )
    return value


# Member of a request to the member of the configuration and its new value; what is empty then disappears.
APPLY: dict[str, tuple[str, Apply]] = {
    **{name: (name, _same) for name in ("Description", "Handler", "KMSKeyArn", "Role", "TracingConfig")},
    **{name: (name, _limited(name)) for name in LIMITS},
    "DeadLetterConfig": ("DeadLetterConfig", lambda _, value: value if value.get("TargetArn") else None),
    "Environment": ("Environment", _environment),
    "EphemeralStorage": ("EphemeralStorage", _storage),
    "FileSystemConfigs": ("FileSystemConfigs", _same),
    "ImageConfig": ("ImageConfigResponse", lambda _, value: {"ImageConfig": value} if value else None),
    "LoggingConfig": ("LoggingConfig", _logging),
    "SnapStart": ("SnapStart", lambda _, value: {"ApplyOn": "None", "OptimizationStatus": "Off", **value}),
}
KEPT_EMPTY = {"Description", "Environment"}


def changed(configuration: Configuration, request: dict[str, Any]) -> Configuration:
    """A configuration with what a request changes, but for runtime, VPC and layers, which need more than itself."""
    result = dict(configuration)
    for asked, (name, apply) in APPLY.items():
        if asked not in request:
            continue
        value = apply(configuration, request[asked])
        if value or name in KEPT_EMPTY:
            result[name] = value
        else:
            result.pop(name, None)
    return result


def check_runtime(settings: AccountSettings, configuration: Configuration, known: list[str]) -> None:
    """Refuse a runtime that Lambda does not know or no longer supports."""
    runtime = configuration.get("Runtime")
    if runtime is None:
        return
    if runtime in settings.blockedRuntimes:
        raise invalid(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime not in known:
        raise invalid(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(known)}] or be a valid ARN"
        )
