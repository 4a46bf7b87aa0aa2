"""The errors of Lambda, in AWS's words."""

from ..errors import AwsError


def invalid(message: str) -> AwsError:
    """A value that Lambda does not accept."""
    return AwsError("InvalidParameterValueException", message)


def not_found(message: str) -> AwsError:
    """Something that does not exist."""
    return AwsError("ResourceNotFoundException", message, 404)


def function_not_found(arn: str) -> AwsError:
    """A function or qualifier that does not exist."""
    return not_found(f"Function not found: {arn}")


def no_such_resource() -> AwsError:
    """A policy or URL that does not exist."""
    return not_found("The resource you requested does not exist.")


def conflict(message: str) -> AwsError:
    """Something that exists already or may not be changed now."""
    return AwsError("ResourceConflictException", message, 409)


def revision_mismatch(source: str) -> AwsError:
    """A RevisionId other than the present one, which the operation `source` answers."""
    return AwsError(
        "PreconditionFailedException",
        f"The Revision Id provided does not match the latest Revision Id. Call the {source} API to retrieve the "
        "latest Revision Id",
        412,
    )
