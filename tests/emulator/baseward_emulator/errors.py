"""AWS errors and their wire formats."""

import json
from dataclasses import dataclass
from xml.sax.saxutils import escape

XML = "text/xml;charset=UTF-8"
JSON = "application/x-amz-json-1.1"


@dataclass
class AwsError(Exception):
    """An error that the caller sees in the wire format of the service it called."""

    code: str
    message: str
    status: int = 400


def invalid(message: str) -> AwsError:
    """The error EC2 answers to a parameter value that it does not accept."""
    return AwsError("InvalidParameterValue", message)


def missing(parameter: str) -> AwsError:
    """The error EC2 answers to a request without a parameter that it needs."""
    return AwsError("MissingParameter", f"The request must contain the parameter {parameter}")


def not_implemented(what: str) -> AwsError:
    """What moto lacks. 501 is an error that SDKs do not retry, unlike moto's own HTML page with 500."""
    return AwsError("NotImplemented", f"The emulator does not implement {what}", 501)


def content_type(protocol: str) -> str:
    """The content type of replies in a protocol."""
    return {"json": JSON, "rest-json": "application/json"}.get(protocol, XML)


def render(protocol: str, error: AwsError, request_id: str) -> tuple[str, bytes]:
    """Content type and body of `error` for the protocols ec2, query, rest-xml and json."""
    code, message = escape(error.code), escape(error.message)
    if protocol == "ec2":
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
        return XML, body.encode()
    if protocol in ("query", "rest-xml"):
        side = "Sender" if error.status < 500 else "Receiver"
        body = (
            "<ErrorResponse>"
            f"<Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return XML, body.encode()
    return JSON, json.dumps({"__type": error.code, "message": error.message}).encode()
