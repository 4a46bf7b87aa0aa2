"""Writes of somebody else, made in process between two steps of the client under test."""

from dataclasses import replace
from typing import Any

from .call import Call
from .ec2 import backend
from .grants import grant_of_record, rule_of_record
from .journal import History, Journal
from .ledger import Ledger


def foreign_write(call: Call, change: dict[str, Any], ledger: Ledger, history: History) -> None:
    """Apply a change to one group of the call's account and region and write it down before the call.

    `authorize` and `revoke` are ingress rules, or egress rules if they say `"egress": true`. A rule to revoke
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
    entry = replace(
        call,
        operation="ForeignWrite",
        principal="foreign",
        session=f"arn:aws:iam::{call.account}:user/foreign",
        user_agent="",
        parameters=change,
        request_id=f"{call.request_id}/foreign",
        journal=journal,
    )
    ledger.write(entry, 200 if group else 400, None if group else "InvalidGroup.NotFound", None, journal.changed)


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
