"""REST: which operation is in a method and a path, its parameters, and the errors of REST-JSON, as Lambda has them."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from botocore.model import ListShape, Shape
from moto.core.utils import get_service_model

from .errors import AwsError
from .parameters import operation_model, parse_json

CONTENT_TYPE = "application/json"
# Errors of the front end, which no service model has; they carry no `Type`.
UNTYPED = {"AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException", "ValidationException"}


@dataclass(frozen=True)
class Template:
    """The path of one operation; a label stands for any one segment."""

    operation: str
    segments: tuple[str, ...]
    query: str

    def labels(self, segments: list[str], query: str) -> dict[str, str] | None:
        """The labels of a path, None if it is not of this template."""
        if self.query not in query:
            return None
        labels = {}
        for wanted, given in zip(self.segments, segments, strict=True):
            if wanted.startswith("{"):
                labels[wanted.strip("{}")] = unquote(given)
            elif wanted != given:
                return None
        return labels


def route(service: str, method: str, path: str, query: str) -> tuple[str, dict[str, str]] | None:
    """The operation that a request asks for and the labels of its path."""
    segments = path.strip("/").split("/")
    for template in _templates(service).get((method, len(segments)), ()):
        labels = template.labels(segments, query)
        if labels is not None:
            return template.operation, labels
    return None


@cache
def _templates(service: str) -> dict[tuple[str, int], list[Template]]:
    """All templates of a service by method and number of segments, those that ask for a query first."""
    model = get_service_model(service)
    found: dict[tuple[str, int], list[Template]] = {}
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        segments = tuple(path.strip("/").split("/"))
        found.setdefault((http["method"], len(segments)), []).append(Template(name, segments, query))
    for templates in found.values():
        templates.sort(key=lambda template: not template.query)
    return found


def parse(service: str, operation: str, labels: dict[str, str], query: str, body: bytes) -> dict[str, Any]:
    """The parameters of a request from its path, query and body, with the model's member names."""
    model = operation_model(service, operation)
    if model is None or model.input_shape is None:
        return {}
    asked: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        asked.setdefault(key, []).append(value)
    given = parse_json(body)
    parameters: dict[str, Any] = {}
    for name, shape in model.input_shape.members.items():
        location, wire = shape.serialization.get("location"), shape.serialization.get("name", name)
        if location == "uri" and wire in labels:
            parameters[name] = _typed(shape, [labels[wire]])
        elif location == "querystring" and wire in asked:
            parameters[name] = _typed(shape, asked[wire])
        elif location is None and given.get(wire) is not None:
            parameters[name] = given[wire]
    return parameters


def _typed(shape: Shape, texts: list[str]) -> Any:
    if isinstance(shape, ListShape):
        return texts
    if shape.type_name in ("integer", "long"):
        try:
            return int(texts[0])
        except ValueError:
            raise AwsError("SerializationException", f"{texts[0]} is not a number") from None
    return texts[0].lower() == "true" if shape.type_name == "boolean" else texts[0]


def status_of(service: str, operation: str, result: Any) -> int:
    """The status of a success; 204 for an answer without a body."""
    model = operation_model(service, operation)
    return 204 if result is None or model is None else int(model.http.get("responseCode", 200))


def error_body(service: str, error: AwsError) -> bytes:
    """The body of an error; its code goes into a header."""
    typed = {} if error.code in UNTYPED else {"Type": "User" if error.status < 500 else "Service"}
    return json.dumps({**typed, _message_member(service, error.code): error.message}).encode()


@cache
def _message_member(service: str, code: str) -> str:
    """Lambda writes `Message` in some of its errors and `message` in others."""
    model = get_service_model(service)
    if code not in model.shape_names:
        return "Message" if code == "AccessDeniedException" else "message"
    return "Message" if "Message" in model.shape_for(code).members else "message"
