"""The values that pass through the layer: an HTTP request, the AWS call in it, and the reply to it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .journal import Journal
from .lambda_.journal import FunctionJournal
from .lambda_.names import function_name

# Parameters of Lambda that name what a call is about.
NAMING = ("FunctionName", "Resource", "ResourceArn", "LayerName", "CodeSigningConfigArn")
READ_PREFIXES = ("Describe", "Get", "List", "Lookup", "Search", "AssumeRole")


def is_read(operation: str) -> bool:
    """Whether an operation never changes what other calls see."""
    return operation.startswith(READ_PREFIXES)


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request, its body read; the names of its headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class PageFault:
    """How a fault falsifies one page: `repeat` it for ever, or `drop` its last items and its token."""

    repeat: bool = False
    drop: int = 0


@dataclass
class Call:
    """One AWS call: who makes it, where, what it asks, and what it did so far."""

    service: str
    operation: str
    region: str
    account: str
    principal: str
    session: str
    access_key: str
    user_agent: str
    protocol: str
    form: dict[str, str]
    parameters: dict[str, Any] = field(default_factory=dict)
    target_account: str | None = None
    page_fault: PageFault | None = None
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    journal: Journal = field(default_factory=Journal)
    function_journal: FunctionJournal = field(default_factory=FunctionJournal)

    @property
    def is_read(self) -> bool:
        """Whether the operation never changes what other calls see."""
        return is_read(self.operation)

    @property
    def resources(self) -> list[str]:
        """The ids of the resources that the call is to change; of Lambda the function's name, or what else it names."""
        if self.service == "lambda":
            given = [str(self.parameters.get(name, "")) for name in NAMING]
            return [*given, *map(function_name, given)]
        return [*self.parameters.get("Resources", []), self.parameters.get("GroupId", "")]


class Transport(Enum):
    """What happens to a reply on its way to the client."""

    SEND = "send"
    RESET = "reset"
    HANG = "hang"
    TRUNCATE = "truncate"


@dataclass
class Reply:
    """An HTTP reply.

    `error_code` is the AWS error in it, `error_type` what its header says of that; `seconds` bounds a hang.
    """

    status: int
    content_type: str
    body: bytes
    request_id: str | None = None
    error_code: str | None = None
    error_type: str | None = None
    transport: Transport = Transport.SEND
    seconds: float | None = None
