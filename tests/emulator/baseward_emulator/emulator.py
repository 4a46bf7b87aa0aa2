"""The way of one call: credentials, request rate, faults, effect, ledger."""

import json
import re
import sys
import threading
import time
import traceback
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores

from . import errors, rest
from .buckets import Buckets
from .call import Call, HttpRequest, Reply, Transport
from .cloudfront import CloudFront
from .cloudtrail import CloudTrail
from .ec2 import Ec2, backend
from .errors import AwsError, not_implemented
from .faults import ERRORS, FaultPlan, Faults
from .foreign import foreign_write
from .identify import identify
from .identity import Sessions, Sts
from .journal import History
from .lambda_.api import Lambda
from .lambda_.journal import FunctionHistory
from .lambda_.model import region_of
from .ledger import Ledger
from .settings import Settings
from .tagging import Tagging

REQUEST_ID = re.compile(r"(?<=<requestId>)[^<]*|(?<=<RequestId>)[^<]*")
RULE_WRITES = re.compile(r"(Authorize|Revoke|UpdateSecurityGroupRule|ModifySecurityGroupRules).*")
# Writes of Lambda that neither a function nor a layer version shows.
UNRECORDED = {"CreateCodeSigningConfig"}
# Faults that answer without doing what the call asks.
WITHOUT_EFFECT = {*ERRORS, "hang", "reset", "custom"}
GARBAGE = "<DescribeSecurityGroupsResponse><securityGroupInfo><item>\x00<<&"


class Emulator:
    """All accounts, and one lock around every effect: moto is not safe for threads, and the ledger has an order."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.settings, self.sessions, self.faults = Settings(), Sessions(), Faults()
        self.buckets, self.ledger = Buckets(), Ledger()
        self.history, self.function_history = History(), FunctionHistory()

    def serve(self, request: HttpRequest) -> Reply:
        """Serve one AWS request."""
        call, error = identify(request, self.sessions)
        error = error or self._expired(call)
        with self.lock:
            if error is None and not self.buckets.take(call, self.settings.of(call.account).rate_scale):
                return self._refuse(call, ERRORS["throttle"][call.service], "throttled")
            if error is not None:
                return self._refuse(call, error, None)
        plan = self.faults.plan(call)
        time.sleep(plan.delay)
        with self.lock:
            return self._perform(call, plan)

    def _expired(self, call: Call) -> AwsError | None:
        caller = self.sessions.caller(call.access_key)
        return ERRORS["expiredToken"][call.service] if caller and caller.expires < time.time() else None

    def _refuse(self, call: Call, error: AwsError, fault: str | None) -> Reply:
        """Answer an error to a call that has no effect."""
        self.ledger.write(call, error.status, error.code, fault, effect=False)
        return error_reply(call, error)

    def _perform(self, call: Call, plan: FaultPlan) -> Reply:
        """Do what the call asks as far as its faults let it, and write it down."""
        for change in plan.changes:
            foreign_write(call, change, self.ledger, self.history, self.function_history)
        main = plan.main.given if plan.main else {"kind": None}
        effect = False
        if main["kind"] in WITHOUT_EFFECT:
            reply = error_reply(call, _injected_error(call, main))
        else:
            call.page_fault = plan.page
            with self._staleness(call, plan):
                reply = self._execute(call)
            effect = self._note_effect(call, reply)
        reply = _distorted(call, main, reply)
        silent = reply.transport in (Transport.RESET, Transport.HANG)
        status, code = (None, None) if silent else (reply.status, reply.error_code)
        self.ledger.write(call, status, code, plan.name(), effect)
        return reply

    def _staleness(self, call: Call, plan: FaultPlan) -> AbstractContextManager[None]:
        if plan.stale is None:
            return nullcontext()
        if call.service in ("lambda", "tagging"):
            return self.function_history.before_last(region_of(call.account, call.region), plan.stale)
        owner = backend(call.account, call.region)
        return self.history.before_last(call.account, call.region, owner, plan.stale)

    def _execute(self, call: Call) -> Reply:
        """Let moto or the layer's own operation answer."""
        if call.service == "ec2":
            response: Any = Ec2(call, self.settings.of(call.account))
        elif call.service == "lambda":
            response = Lambda(call, self.settings.of(call.account))
        elif call.service == "tagging":
            response = Tagging(call)
        elif call.service == "cloudfront":
            response = CloudFront(call)
        elif call.service == "cloudtrail":
            response = CloudTrail(call, self.ledger)
        else:
            response = Sts(call, self.settings, self.sessions)
        try:
            return _answer(call, response)
        except AwsError as error:
            return error_reply(call, error)
        except ServiceException as error:
            return error_reply(call, AwsError(error.code, error.message))
        except NotImplementedError:
            return error_reply(call, not_implemented(f"{call.service} {call.operation}"))
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return error_reply(call, ERRORS["internalError"][call.service])

    def _note_effect(self, call: Call, reply: Reply) -> bool:
        """Close the call's journals, and tell whether it changed anything."""
        if call.service == "lambda":
            return self._note_functions(call, reply)
        journal = call.journal
        journal.close()
        if journal.changed:
            self.history.record(call.account, call.region, journal)
        if call.is_read:
            return False
        return journal.changed or (reply.status == 200 and not RULE_WRITES.fullmatch(call.operation))

    def _note_functions(self, call: Call, reply: Reply) -> bool:
        """The same for functions and layers."""
        journal = call.function_journal
        journal.close()
        if journal.changed:
            self.function_history.record(journal)
        return journal.changed or (call.operation in UNRECORDED and reply.status < 300)


def _answer(call: Call, response: Any) -> Reply:
    """Call the operation. Mends: moto lists all its 700 methods for each call to find one."""
    operation = getattr(response, camelcase_to_underscores(call.operation), None)
    if operation is None:
        raise not_implemented(f"{call.service} {call.operation}")
    result = operation()
    if call.protocol == "rest-json":
        body = b"" if result is None else json.dumps(result).encode()
        status = rest.status_of(call.service, call.operation, result)
        return Reply(status, rest.CONTENT_TYPE, body, call.request_id)
    if isinstance(result, ActionResult):
        _, _, result = response.serialized(result)
        text = result.decode() if isinstance(result, bytes) else result
        result = REQUEST_ID.sub(call.request_id, text)
    return Reply(200, errors.content_type(call.protocol), result.encode(), call.request_id)


def error_reply(call: Call, error: AwsError) -> Reply:
    """An error in the wire format of the call's service."""
    if call.protocol == "rest-json":
        body = rest.error_body(call.service, error)
        return Reply(error.status, rest.CONTENT_TYPE, body, call.request_id, error.code, error_type=error.code)
    content_type, body = errors.render(call.protocol, error, call.request_id)
    return Reply(error.status, content_type, body, call.request_id, error.code)


def _injected_error(call: Call, main: dict[str, Any]) -> AwsError:
    if main["kind"] == "custom":
        return AwsError(main["code"], main.get("message", "Injected error"), main["status"])
    return ERRORS.get(main["kind"], ERRORS["internalError"])[call.service]


def _distorted(call: Call, main: dict[str, Any], reply: Reply) -> Reply:
    """The reply as its fault lets it through."""
    match main["kind"]:
        case "effectThenError":
            return error_reply(call, ERRORS["internalError"][call.service])
        case "hang" | "effectThenHang":
            return replace(reply, transport=Transport.HANG, seconds=main.get("seconds"))
        case "reset" | "effectThenReset":
            return replace(reply, transport=Transport.RESET)
        case "truncate":
            return replace(reply, transport=Transport.TRUNCATE)
        case "garbage":
            body = main.get("body", GARBAGE).encode()
            return Reply(200, errors.content_type(call.protocol), body, call.request_id)
    return reply
