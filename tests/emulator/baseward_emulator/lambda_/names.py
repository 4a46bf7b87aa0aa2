"""Names and ARNs of functions in all their forms."""

import re
from dataclasses import dataclass

FUNCTION = re.compile(
    r"(?:arn:[\w-]+:lambda:)?(?:(?P<region>[a-z]+(?:-[a-z]+)+-\d):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[\w.-]+)(?::(?P<qualifier>[\w$.-]+))?"
)


@dataclass(frozen=True)
class FunctionName:
    """The parts of a name, a partial ARN or an ARN; `qualifier` is empty for the function itself."""

    name: str
    qualifier: str = ""
    account: str | None = None
    region: str | None = None


def parse_name(text: str) -> FunctionName | None:
    """The parts of a function's name, None for what is none."""
    match = FUNCTION.fullmatch(text)
    if match is None:
        return None
    return FunctionName(match["name"], match["qualifier"] or "", match["account"], match["region"])


def function_name(text: str) -> str:
    """The bare name in any form of a name, empty for what is none."""
    parsed = parse_name(text)
    return parsed.name if parsed else ""
