"""Constraints of the service model: lengths, patterns, ranges and sets of values.

Lambda checks them before anything else and names all that are broken in one sentence.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StringShape, StructureShape

from .errors import AwsError

KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "long": int, "double": (int, float), "boolean": bool,
}  # fmt: skip


def check(model: OperationModel, parameters: dict[str, Any], exempt: frozenset[str] = frozenset()) -> None:
    """Refuse parameters that break a constraint; members of `exempt` have their values checked elsewhere."""
    if model.input_shape is None:
        return
    broken = list(_broken(model.input_shape, parameters, "", exempt))
    if broken:
        noun = "error" if len(broken) == 1 else "errors"
        raise AwsError("ValidationException", f"{len(broken)} validation {noun} detected: {'; '.join(broken)}")


def _broken(shape: Shape, value: Any, path: str, exempt: frozenset[str]) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        _expect(isinstance(value, dict), path)
        yield from _broken_members(shape, value, path, exempt)
    elif isinstance(shape, MapShape):
        _expect(isinstance(value, dict), path)
    elif isinstance(shape, ListShape):
        _expect(isinstance(value, list), path)
        yield from _out_of_range(shape, value, len(value), "length", path)
        for item in value:
            yield from _broken(shape.member, item, path, exempt)
    elif kind := KINDS.get(shape.type_name):
        _expect(isinstance(value, kind) and (shape.type_name == "boolean") == isinstance(value, bool), path)
        yield from _broken_scalar(shape, value, path)


def _broken_members(shape: StructureShape, value: dict[str, Any], path: str, exempt: frozenset[str]) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_joined(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, member in shape.members.items():
        if value.get(name) is not None and name not in exempt:
            yield from _broken(member, value[name], _joined(path, name), exempt)


def _broken_scalar(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(shape, StringShape) and shape.enum:
        if value not in shape.enum:
            yield _sentence(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    elif isinstance(value, str):
        yield from _out_of_range(shape, value, len(value), "length", path)
        pattern = shape.metadata.get("pattern")
        if pattern and not _compiled(pattern).fullmatch(value):
            yield _sentence(value, path, f"Member must satisfy regular expression pattern: {pattern}")
    elif not isinstance(value, bool):
        yield from _out_of_range(shape, value, value, "value", path)


def _out_of_range(shape: Shape, value: Any, size: float, what: str, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield _sentence(value, path, f"Member must have {what} greater than or equal to {least}")
    if most is not None and size > most:
        yield _sentence(value, path, f"Member must have {what} less than or equal to {most}")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the model; one in which Python's syntax differs from Java's lets everything through."""
    try:
        return re.compile(pattern)
    except re.error:
        return re.compile(".*", re.DOTALL)


def _expect(fits: bool, path: str) -> None:
    if not fits:
        raise AwsError("SerializationException", f"The value at '{path}' has the wrong type")


def _joined(path: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _sentence(value: Any, path: str, constraint: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"
