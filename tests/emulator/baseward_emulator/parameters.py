"""Parameters of a request; those of the query protocols are parsed by the service model.

Mends a gap of moto: its parser looks through all keys of the request for each structure, which is
quadratic for batches of many rules and for filters of many values. This one builds a tree once.
It also refuses lists longer than the service model allows, which moto does not.
"""

import json
from functools import cache
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StructureShape
from moto.core.utils import get_service_model

from .errors import AwsError, invalid

Tree = dict[str, Any]
# Services that botocore knows by another name than the one they sign with.
MODEL_NAMES = {"tagging": "resourcegroupstaggingapi"}


@cache
def operation_model(service: str, operation: str) -> OperationModel | None:
    """The model of an operation, or None if AWS has no operation of that name."""
    model = get_service_model(MODEL_NAMES.get(service, service))
    return model.operation_model(operation) if operation in model.operation_names else None


def parse(service: str, operation: str, form: dict[str, str]) -> dict[str, Any]:
    """The parameters of a request as a nested dict with the model's member names."""
    model = operation_model(service, operation)
    if model is None:
        raise AwsError("InvalidAction", f"The action {operation} is not valid for this web service.")
    shape = model.input_shape
    return {} if shape is None else _structure(shape, _tree(form), service == "ec2")


def parse_json(body: bytes) -> dict[str, Any]:
    """The parameters of a request in JSON, which has the model's member names."""
    try:
        parameters = json.loads(body or b"{}")
    except ValueError:
        parameters = None
    if not isinstance(parameters, dict):
        raise AwsError("SerializationException", "The request is no JSON object")
    return parameters


def missing_parameters(service: str, operation: str, parameters: dict[str, Any]) -> list[str]:
    """Names of the required parameters that are absent."""
    model = operation_model(service, operation)
    shape = model.input_shape if model else None
    return [name for name in shape.required_members if name not in parameters] if shape else []


def _tree(form: dict[str, str]) -> Tree:
    root: Tree = {}
    for key, value in form.items():
        *path, leaf = key.split(".")
        node = root
        for part in path:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise AwsError("MalformedQueryString", f"The parameter {key} is given twice")
            node = child
        node[leaf] = value
    return root


@cache
def _wire_names(shape: StructureShape, ec2: bool) -> dict[str, tuple[str, Shape]]:
    """Wire name to member name and shape."""
    names: dict[str, tuple[str, Shape]] = {}
    for name, member in shape.members.items():
        given = member.serialization
        if ec2 and "queryName" in given:
            wire = given["queryName"]
        elif "name" in given:
            wire = given["name"][0].upper() + given["name"][1:] if ec2 else given["name"]
        else:
            wire = name
        names[wire] = (name, member)
    return names


def _value(shape: Shape, node: Any, ec2: bool) -> Any:
    if isinstance(shape, StructureShape):
        return _structure(shape, node, ec2) if isinstance(node, dict) else {}
    if isinstance(shape, ListShape):
        return _list(shape, node, ec2)
    if isinstance(node, dict):
        raise invalid("A structure was given where a plain value is expected")
    if shape.type_name in ("integer", "long"):
        try:
            return int(node)
        except ValueError:
            raise invalid(f"Value ({node}) is not a number") from None
    return node.lower() == "true" if shape.type_name == "boolean" else node


def _structure(shape: StructureShape, node: Tree, ec2: bool) -> dict[str, Any]:
    names = _wire_names(shape, ec2)
    return {names[wire][0]: _value(names[wire][1], child, ec2) for wire, child in node.items() if wire in names}


def _list(shape: ListShape, node: Any, ec2: bool) -> list[Any]:
    if not ec2 and isinstance(node, dict):
        node = node.get(shape.member.serialization.get("name", "member"), {})
    if not isinstance(node, dict):
        return []
    indices = sorted((key for key in node if key.isdigit()), key=int)
    if len(indices) > shape.metadata.get("max", len(indices)):
        raise invalid(f"{shape.name} has more than {shape.metadata['max']} members")
    return [_value(shape.member, node[index], ec2) for index in indices]
