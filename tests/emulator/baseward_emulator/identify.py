"""Which AWS call is in an HTTP request, and who makes it."""

import re
from urllib.parse import parse_qsl

from . import parameters, rest, validation
from .call import Call, HttpRequest
from .errors import AwsError, missing, not_implemented
from .identity import Sessions, role_account

SCOPE = re.compile(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/aws4_request")
UNSIGNED = "AssumeRoleWithWebIdentity"
# Lambda answers another error for these values than for others that its model does not have.
CHECKED_LATER = frozenset({"Runtime"})
PROTOCOLS = {
    "cloudfront": "rest-xml", "cloudtrail": "json", "ec2": "ec2", "lambda": "rest-json", "sts": "query",
    "tagging": "json",
}  # fmt: skip
# How a service calls credentials that nobody has given out.
UNKNOWN_KEY = {
    "cloudfront": AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
    "cloudtrail": AwsError("UnrecognizedClientException", "The security token included in the request is invalid."),
    "ec2": AwsError("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
    "lambda": AwsError("UnrecognizedClientException", "The security token included in the request is invalid.", 403),
    "sts": AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
    "tagging": AwsError("UnrecognizedClientException", "The security token included in the request is invalid."),
}


def identify(request: HttpRequest, sessions: Sessions) -> tuple[Call, AwsError | None]:
    """The call, and the error for one that is not to be served at all."""
    form = dict(parse_qsl(request.query, keep_blank_values=True))
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form.update(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    operation = form.pop("Action", "")
    match = SCOPE.search(request.headers.get("authorization", ""))
    if match:
        access_key, region, service = match.groups()
    else:
        access_key, region, service = "", "us-east-1", "sts" if operation == UNSIGNED else ""
    call = Call(
        service=service,
        operation=operation or _named_operation(request),
        region=region,
        account="",
        principal="",
        session="",
        access_key=access_key,
        # SDKs say more about themselves in a header of their own.
        user_agent=request.headers.get("x-amz-user-agent") or request.headers.get("user-agent", ""),
        protocol=PROTOCOLS.get(service, "query" if operation else "json"),
        form=form,
    )
    try:
        _complete(call, request, sessions)
    except AwsError as error:
        return call, error
    return call, None


def _named_operation(request: HttpRequest) -> str:
    """The operation in the header of the JSON protocol, else what is known of a request before it is routed."""
    target = request.headers.get("x-amz-target")
    return target.rpartition(".")[2] if target else f"{request.method} {request.path}"


def _complete(call: Call, request: HttpRequest, sessions: Sessions) -> None:
    """Find the caller and the parameters."""
    if call.service not in PROTOCOLS:
        call.account = call.access_key
        raise not_implemented(f"{call.service or 'unsigned'} {call.operation}")
    if call.access_key:
        _find_caller(call, sessions)
    if call.protocol in ("rest-json", "rest-xml"):
        _route(call, request)
        return
    if call.protocol == "json":
        call.parameters = parameters.parse_json(request.body)
    else:
        call.parameters = parameters.parse(call.service, call.operation, call.form)
    call.target_account = role_account(call.parameters.get("RoleArn"))
    if not call.access_key:
        call.account, call.principal = call.target_account or "", "web-identity"
    if absent := parameters.missing_parameters(call.service, call.operation, call.parameters):
        raise missing(absent[0])


def _route(call: Call, request: HttpRequest) -> None:
    """Find operation and parameters of a REST call."""
    routed = rest.route(call.service, request.method, request.path, request.query)
    if routed is None:
        raise not_implemented(f"{call.service} {call.operation}")
    call.operation, labels = routed
    call.parameters = rest.parse(call.service, call.operation, labels, request.query, request.body)
    model = parameters.operation_model(call.service, call.operation)
    assert model is not None, "routes come from the model"
    validation.check(model, call.parameters, exempt=CHECKED_LATER)


def _find_caller(call: Call, sessions: Sessions) -> None:
    caller = sessions.caller(call.access_key)
    if caller is None:
        raise UNKNOWN_KEY[call.service]
    call.account, call.principal, call.session = caller.account, caller.principal, caller.session_arn
