"""Resource policies of functions, versions and aliases: each has its own, with its own revision."""

import json
from typing import Any

from ..errors import AwsError
from .errors import function_not_found, invalid, no_such_resource, not_found
from .model import LATEST, Function, Policy, new_revision
from .operations import Operations
from .statements import (
    check_policy_revision,
    document_of,
    parsed_statements,
    policy_answer,
    statement_of,
    with_statement,
    without_statement,
)

LIMIT = 20480


class Policies(Operations):
    """The operations."""

    def get_policy(self) -> dict[str, Any]:
        """The policy of a function or of one of its qualifiers."""
        function, qualifier = self.function(absent=no_such_resource())
        return _answer(function.policies.get(_key(qualifier)))

    def add_permission(self) -> dict[str, Any]:
        """Add a statement."""
        function, qualifier = self.function()
        if qualifier == LATEST:
            raise invalid("We currently do not support adding policies for $LATEST.")
        self._check_qualifier(function, qualifier)
        policy = function.policies.get(qualifier)
        check_policy_revision(policy, self.parameters.get("RevisionId"), "GetPolicy")
        statement = statement_of(self.parameters, function.qualified(qualifier))
        self._put_policy(function, qualifier, with_statement(policy, statement))
        return {"Statement": json.dumps(statement)}

    def remove_permission(self) -> None:
        """Remove a statement by its id; with the last one the policy goes."""
        named = self.named()
        absent = not_found(f"No policy found for: {self.region.arn('function', named.name)}")
        function, qualifier = self.function(absent=absent)
        self._check_qualifier(function, qualifier)
        policy = function.policies.get(_key(qualifier))
        rest = without_statement(policy, self.parameters["StatementId"])
        check_policy_revision(policy, self.parameters.get("RevisionId"), "GetPolicy")
        self._put_policy(function, _key(qualifier), rest)

    def get_resource_policy(self) -> dict[str, Any]:
        """The policy by a full ARN."""
        function, qualifier = self._by_arn()
        return _answer(function.policies.get(qualifier))

    def put_resource_policy(self) -> dict[str, Any]:
        """Replace all statements; they need no ids."""
        function, qualifier = self._by_arn()
        check_policy_revision(function.policies.get(qualifier), self.parameters.get("RevisionId"), "GetResourcePolicy")
        statements = parsed_statements(self.parameters["Policy"])
        policy = Policy(new_revision(), statements)
        self._put_policy(function, qualifier, policy)
        return _answer(policy)

    def delete_resource_policy(self) -> None:
        """Remove the policy."""
        function, qualifier = self._by_arn()
        policy = function.policies.get(qualifier)
        if policy is None:
            raise no_such_resource()
        check_policy_revision(policy, self.parameters.get("RevisionId"), "GetResourcePolicy")
        self._put_policy(function, qualifier, None)

    def _by_arn(self) -> tuple[Function, str]:
        named = self.named(self.parameters["ResourceArn"])
        function = self.find(named.name)
        if function is None:
            raise function_not_found(self.region.arn("function", named.name))
        self._check_qualifier(function, named.qualifier)
        return function, _key(named.qualifier)

    def _put_policy(self, function: Function, qualifier: str, policy: Policy | None) -> None:
        """Put a policy in place of the old one, or of none."""
        others = {key: value for key, value in function.policies.items() if key != qualifier}
        if policy is not None:
            size = len(document_of(policy))
            if size > LIMIT:
                message = f"The final policy size ({size}) is bigger than the limit ({LIMIT})."
                raise AwsError("PolicyLengthExceededException", message)
            others[qualifier] = policy
        self.write(function, policies=others)

    @staticmethod
    def _check_qualifier(function: Function, qualifier: str) -> None:
        if function.version_of(qualifier) is not None:
            return
        arn = function.qualified(qualifier)
        if qualifier.isdigit() or "$" in qualifier:
            raise function_not_found(arn)
        raise not_found(f"Cannot find alias arn: {arn}")


def _key(qualifier: str) -> str:
    """`$LATEST` has no policy but the function's."""
    return "" if qualifier == LATEST else qualifier


def _answer(policy: Policy | None) -> dict[str, Any]:
    if policy is None:
        raise no_such_resource()
    return policy_answer(policy)
