"""How CloudTrail shows the writes of Lambda: names with dates, parameters in camel case, no values of variables."""

from typing import Any

from .names import parse_name

SOURCE = "lambda.amazonaws.com"
FUNCTION_TYPE = "AWS::Lambda::Function"
# Operations whose events carry the date of an API version.
EVENT_NAMES = {
    "AddLayerVersionPermission": "AddLayerVersionPermission20181031",
    "AddPermission": "AddPermission20150331v2",
    "CreateAlias": "CreateAlias20150331",
    "CreateFunction": "CreateFunction20150331",
    "DeleteFunction": "DeleteFunction20150331",
    "DeleteFunctionConcurrency": "DeleteFunctionConcurrency20171031",
    "PublishLayerVersion": "PublishLayerVersion20181031",
    "PublishVersion": "PublishVersion20150331",
    "PutFunctionConcurrency": "PutFunctionConcurrency20171031",
    "RemoveLayerVersionPermission": "RemoveLayerVersionPermission20181031",
    "RemovePermission": "RemovePermission20150331v2",
    "TagResource": "TagResource20170331v2",
    "UntagResource": "UntagResource20170331v2",
    "UpdateFunctionConfiguration": "UpdateFunctionConfiguration20150331v2",
}
NAMING = ("FunctionName", "Resource", "ResourceArn", "function")
SECRET = {"environment", "code", "content", "configuration", "create", "zipFile"}
FREE_KEYS = {"Tags", "tags", "policy", "AdditionalVersionWeights"}
# What a foreign change stands for, by its keys.
FOREIGN = {
    "delete": "DeleteFunction",
    "create": "CreateFunction",
    "configuration": "UpdateFunctionConfiguration",
    "url": "UpdateFunctionUrlConfig",
    "tags": "TagResource",
    "reservedConcurrency": "PutFunctionConcurrency",
    "codeSigningConfig": "PutFunctionCodeSigningConfig",
    "recursion": "PutFunctionRecursionConfig",
    "runtimeManagement": "PutRuntimeManagementConfig",
}


def operations(entry: dict[str, Any]) -> list[str]:
    """The events of an entry of the ledger; a foreign write may be several, and none if it changed nothing."""
    if entry["operation"] != "ForeignWrite":
        return [EVENT_NAMES.get(entry["operation"], entry["operation"])]
    if not entry["effect"]:
        return []
    names = [operation for key, operation in FOREIGN.items() if key in entry["parameters"]]
    names += _policy_changes(entry["functions"])
    return [EVENT_NAMES.get(name, name) for name in names]


def _policy_changes(functions: list[dict[str, Any]]) -> list[str]:
    """Whether a foreign write removed statements, added some, or both."""
    names = []
    for function in functions:
        if function["before"] is None or function["after"] is None:
            continue
        old, new = (_statements(function[side]) for side in ("before", "after"))
        names += ["RemovePermission"] if any(each not in new for each in old) else []
        names += ["AddPermission"] if any(each not in old for each in new) else []
    return names


def _statements(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(key, each) for key, policy in record["policies"].items() for each in policy["statements"]]


def request_parameters(entry: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a call as CloudTrail writes them."""
    given: dict[str, Any] = _camel(entry["parameters"])
    return {name: {} if name in SECRET else value for name, value in given.items()}


def _camel(value: Any) -> Any:
    """The members of structures in camel case; keys of tags and conditions are nobody's members."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name[:1].lower() + name[1:]: item if name in FREE_KEYS else _camel(item) for name, item in value.items()}


def resources(entry: dict[str, Any]) -> dict[str, str]:
    """The function of a call by its name and by its ARN, with its type."""
    parameters = entry["parameters"]
    given = next((parameters[key] for key in NAMING if key in parameters), "")
    named = parse_name(str(given))
    if named is None:
        return {}
    arn = f"arn:aws:lambda:{entry['region']}:{entry['account']}:function:{named.name}"
    return {named.name: FUNCTION_TYPE, arn: FUNCTION_TYPE}
