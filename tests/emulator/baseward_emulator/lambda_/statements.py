"""Statements of resource policies, and what is done to lists of them."""

import json
import re
from typing import Any

from .errors import conflict, invalid, not_found, revision_mismatch
from .model import Policy, new_revision

ACCOUNT = re.compile(r"\d{12}")
# Parameter of AddPermission to the condition that it becomes: operator and key in the spelling of Lambda.
CONDITIONS = {
    "SourceAccount": ("StringEquals", "AWS:SourceAccount"),
    "EventSourceToken": ("StringEquals", "lambda:EventSourceToken"),
    "FunctionUrlAuthType": ("StringEquals", "lambda:FunctionUrlAuthType"),
    "PrincipalOrgID": ("StringEquals", "aws:PrincipalOrgID"),
    "SourceArn": ("ArnLike", "AWS:SourceArn"),
    "InvokedViaFunctionUrl": ("Bool", "lambda:InvokedViaFunctionUrl"),
}


def statement_of(request: dict[str, Any], arn: str) -> dict[str, Any]:
    """The statement that AddPermission makes of its parameters."""
    statement: dict[str, Any] = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": principal_of(request["Principal"]),
        "Action": request["Action"],
        "Resource": arn,
    }
    condition: dict[str, dict[str, str]] = {}
    for name, (operator, key) in CONDITIONS.items():
        value = request.get(name)
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else value
            condition.setdefault(operator, {})[key] = text
    return {**statement, "Condition": condition} if condition else statement


def principal_of(given: str) -> Any:
    """A principal as a statement has it."""
    if given == "*":
        return given
    if ACCOUNT.fullmatch(given):
        return {"AWS": f"arn:aws:iam::{given}:root"}
    if re.match(r"arn:[\w-]+:(iam|sts):", given):
        return {"AWS": given}
    if given.endswith((".amazonaws.com", ".amazon.com", ".amazonaws.com.cn")):
        return {"Service": given}
    raise invalid("The provided principal was invalid. Please check the principal and try again.")


def with_statement(policy: Policy | None, statement: dict[str, Any]) -> Policy:
    """A policy with one statement more."""
    statements = policy.statements if policy else ()
    if any(other.get("Sid") == statement["Sid"] for other in statements):
        raise conflict(
            f"The statement id ({statement['Sid']}) provided already exists. Please provide a new statement id, or "
            "remove the existing statement."
        )
    return Policy(new_revision(), (*statements, statement))


def without_statement(policy: Policy | None, sid: str) -> Policy | None:
    """A policy without one of its statements; None for the last one."""
    if policy is None:
        raise not_found("No policy is associated with the given resource.")
    rest = tuple(statement for statement in policy.statements if statement.get("Sid") != sid)
    if len(rest) == len(policy.statements):
        raise not_found(f"Statement {sid} is not found in resource policy.")
    return Policy(new_revision(), rest) if rest else None


def check_policy_revision(policy: Policy | None, given: str | None, source: str) -> None:
    """Refuse a revision that is not the policy's; where there is no policy, any is."""
    if given and (policy is None or policy.revision != given):
        raise revision_mismatch(source)


def parsed_statements(text: str) -> tuple[dict[str, Any], ...]:
    """The statements of a policy document, which has at least one."""
    try:
        document = json.loads(text)
        statements = document["Statement"]
    except (ValueError, TypeError, KeyError):
        raise invalid("The provided policy is no valid policy document.") from None
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements or not all(isinstance(each, dict) for each in statements):
        raise invalid("The provided policy has no statements.")
    sids = [each["Sid"] for each in statements if "Sid" in each]
    if len(set(sids)) < len(sids):
        raise invalid("The statement ids of the provided policy are not unique.")
    return tuple(statements)


def document_of(policy: Policy) -> str:
    """The policy document as text."""
    return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": list(policy.statements)})


def policy_answer(policy: Policy) -> dict[str, Any]:
    """A policy as it is answered: its document as text, and its revision."""
    return {"Policy": document_of(policy), "RevisionId": policy.revision}
