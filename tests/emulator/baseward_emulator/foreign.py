"""Writes of somebody else, made in process between two steps of the client under test."""

from dataclasses import replace
from typing import Any

from .call import Call
from .ec2 import backend
from .grants import grant_of_record, rule_of_record
from .journal import History, Journal
from .lambda_.foreign import change_function
from .lambda_.journal import FunctionHistory, FunctionJournal
from .lambda_.model import region_of
from .ledger import Ledger


def foreign_write(
    call: Call, change: dict[str, Any], ledger: Ledger, history: History, function_history: FunctionHistory
) -> None:
    """Apply a change to a group or a function of the call's account and region, and write it down before the call."""
    if "function" in change:
        _change_function(call, change, ledger, function_history)
    else:
        _change_group(call, change, ledger, history)


def _change_function(call: Call, change: dict[str, Any], ledger: Ledger, history: FunctionHistory) -> None:
    journal, found = change_function(region_of(call.account, call.region), change)
    if journal.changed:
        history.record(journal)
    entry = replace(_entry(call, change, "lambda"), function_journal=journal)
    ledger.write(entry, 200 if found else 404, None if found else "ResourceNotFoundException", None, journal.changed)


def _change_group(call: Call, change: dict[str, Any], ledger: Ledger, history: History) -> None:
    """`authorize` and `revoke` are ingress rules, or egress rules if they say `"egress": true`. A rule to revoke
    is named by `ruleId` or by its grant; one that is not there is passed over.
    """
    owner = backend(call.account, call.region)
    group = owner.get_security_group_from_id(change["groupId"])
    journal = Journal()
    if group is not None:
        journal.touch(owner, group)
        for given in change.get("revoke", []):
            _revoke(group, given)
        for given in change.get("authorize", []):
            _authorize(group, given)
        journal.close()
    if journal.changed:
        history.record(call.account, call.region, journal)
    entry = replace(_entry(call, change, "ec2"), journal=journal)
    ledger.write(entry, 200 if group else 400, None if group else "InvalidGroup.NotFound", None, journal.changed)


def _entry(call: Call, change: dict[str, Any], service: str) -> Call:
    """The write as a call of somebody else."""
    return replace(
        call,
        service=service,
        operation="ForeignWrite",
        principal="foreign",
        session=f"arn:aws:iam::{call.account}:user/foreign",
        user_agent="",
        parameters=change,
        request_id=f"{call.request_id}/foreign",
        journal=Journal(),
        function_journal=FunctionJournal(),
    )


def _attribute(given: dict[str, Any]) -> str:
    return "egress_rules" if given.get("egress") else "ingress_rules"


def _revoke(group: Any, given: dict[str, Any]) -> None:
    attribute = _attribute(given)
    rules = getattr(group, attribute)
    if rule_id := given.get("ruleId"):
        kept = [rule for rule in rules if rule.id != rule_id]
    else:
        grant = grant_of_record(given)
        kept = [rule for rule in rules if rule.grant != grant]
    setattr(group, attribute, kept)


def _authorize(group: Any, given: dict[str, Any]) -> None:
    attribute = _attribute(given)
    rule = rule_of_record(group, attribute == "egress_rules", given)
    rules = getattr(group, attribute)
    if all(other.grant != rule.grant for other in rules):
        setattr(group, attribute, [*rules, rule])
