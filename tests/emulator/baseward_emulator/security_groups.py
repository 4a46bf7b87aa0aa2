"""Writes of security groups and their rules.

Mends gaps of moto: batches apply partially on an error and answer only their last rules; a revocation
answers neither the revoked nor the unknown rules and knows no default VPC; an unknown rule id has the
wrong error code; ModifySecurityGroupRules makes duplicates and changes the kind of a peer; descriptions
cannot be updated by rule id; groups in use can be deleted; a new group's answer lacks its tags.
"""

from dataclasses import replace
from typing import Any

from . import wire
from .batch import Batch
from .errors import AwsError, invalid, missing
from .grants import Rule, check_description, new_rule
from .operations import Operations
from .permissions import RuleSpec, group_not_found, rule_id_not_found, single, specs


class SecurityGroupWrites(Operations):
    """The operations."""

    def authorize_security_group_ingress(self) -> str:
        """Add inbound rules."""
        return self._authorize(egress=False)

    def authorize_security_group_egress(self) -> str:
        """Add outbound rules."""
        return self._authorize(egress=True)

    def revoke_security_group_ingress(self) -> str:
        """Remove inbound rules."""
        return self._revoke(egress=False)

    def revoke_security_group_egress(self) -> str:
        """Remove outbound rules."""
        return self._revoke(egress=True)

    def update_security_group_rule_descriptions_ingress(self) -> str:
        """Describe inbound rules anew."""
        return self._update_descriptions(egress=False)

    def update_security_group_rule_descriptions_egress(self) -> str:
        """Describe outbound rules anew."""
        return self._update_descriptions(egress=True)

    def modify_security_group_rules(self) -> str:
        """Change rules in place: same id, same tags, everything else as the request says."""
        self.error_on_dryrun()
        group = self._group()
        updates = self.call.parameters["SecurityGroupRules"]
        ids = [update.get("SecurityGroupRuleId") for update in updates]
        if len(set(ids)) != len(ids):
            raise invalid("The same security group rule ID must not appear multiple times")
        with self._batch(group) as batch:
            for update in updates:
                self._modify(batch, group, update)
                if not self.settings.atomicBatches:
                    batch.check_duplicates()
            batch.check_duplicates()
        return self.answer("<return>true</return>")

    def create_security_group(self) -> str:
        """Make a group. Mends: moto takes a VPC that does not exist and answers no tags."""
        parameters = self.call.parameters
        vpc_id = parameters.get("VpcId")
        if vpc_id and vpc_id not in self.ec2_backend.vpcs:
            raise AwsError("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")
        self.error_on_dryrun()
        tags = self._parse_tag_specification().get("security-group", {})
        group = self.ec2_backend.create_security_group(
            parameters["GroupName"], parameters["Description"], vpc_id=vpc_id, tags=tags
        )
        self.call.journal.created(self.ec2_backend, group)
        return self.answer(
            f"<return>true</return><groupId>{group.id}</groupId>{wire.tag_set(tags)}"
            f"<securityGroupArn>{group.arn}</securityGroupArn>"
        )

    def delete_security_group(self) -> str:
        """Delete a group. Mends: moto deletes default groups and groups in use."""
        self.error_on_dryrun()
        group = self._group()
        if group.is_default:
            raise AwsError(
                "CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user'
            )
        if self._is_used(group.id):
            raise AwsError("DependencyViolation", f"resource {group.id} has a dependent object")
        self.ec2_backend.delete_security_group(group_id=group.id)
        for owner in (group, *group.ingress_rules, *group.egress_rules):
            self.ec2_backend.tags.pop(owner.id, None)
        return self.answer(f"<return>true</return><groupId>{group.id}</groupId>")

    def _authorize(self, egress: bool) -> str:
        self.error_on_dryrun()
        group = self._group()
        wanted = specs(self.ec2_backend, group, self.call.parameters)
        if self.settings.atomicBatches and len({spec.grant for spec in wanted}) < len(wanted):
            raise invalid("The same permission must not appear multiple times")
        tags = self._parse_tag_specification().get("security-group-rule", {})
        added = []
        with self._batch(group) as batch:
            for spec in wanted:
                rule = new_rule(group.id, egress, spec.grant, spec.peer_account, spec.description)
                batch.add(rule)
                added.append(rule)
        if tags:
            self.ec2_backend.create_tags([rule.id for rule in added], tags)
        items = [wire.rule(rule, group.owner_id, self.rule_arn_prefix, self.ec2_backend.tags) for rule in added]
        return self.answer("<return>true</return>" + wire.set_of("securityGroupRuleSet", items))

    def _revoke(self, egress: bool) -> str:
        self.error_on_dryrun()
        group = self._group()
        ids = self.call.parameters.get("SecurityGroupRuleIds")
        if ids and "IpPermissions" in self.call.parameters:
            raise AwsError(
                "InvalidParameterCombination",
                "The parameters securityGroupRuleIds and ipPermissions exclude each other",
            )
        unknown: list[RuleSpec] = []
        with self._batch(group) as batch:
            found = self._by_ids(batch, ids, egress) if ids else self._by_grants(batch, group, egress, unknown)
        for rule in found:
            self.ec2_backend.tags.pop(rule.id, None)
        revoked = wire.set_of("revokedSecurityGroupRuleSet", [wire.revoked_rule(rule) for rule in found])
        missed = [Rule("", group.id, egress, spec.grant, spec.peer_account, spec.description) for spec in unknown]
        rest = wire.permissions("unknownIpPermissionSet", missed) if missed else ""
        return self.answer(f"<return>true</return>{rest}{revoked}")

    @staticmethod
    def _by_ids(batch: Batch, ids: list[str], egress: bool) -> list[Rule]:
        """Remove rules by their ids."""
        found = []
        for rule_id in dict.fromkeys(ids):
            rule = batch.by_id(rule_id, egress)
            if rule is None:
                raise rule_id_not_found(rule_id)
            batch.remove(rule)
            found.append(rule)
        return found

    def _by_grants(self, batch: Batch, group: Any, egress: bool, unknown: list[RuleSpec]) -> list[Rule]:
        """Remove rules by their properties. In a default VPC those that do not exist are no error."""
        forgiving = self.ec2_backend.vpcs[group.vpc_id].is_default
        found = []
        for spec in specs(self.ec2_backend, group, self.call.parameters, known_only=False):
            rule = next((rule for rule in batch.rules(egress) if rule.grant == spec.grant), None)
            if rule is not None:
                batch.remove(rule)
                found.append(rule)
            elif forgiving:
                unknown.append(spec)
            else:
                raise _rule_not_found()
        return found

    def _modify(self, batch: Batch, group: Any, update: dict[str, Any]) -> None:
        rule_id, request = update.get("SecurityGroupRuleId"), update.get("SecurityGroupRule")
        if not rule_id or not request:
            raise missing("SecurityGroupRule")
        old = batch.by_id(rule_id)
        if old is None:
            raise rule_id_not_found(rule_id)
        spec = single(self.ec2_backend, group, request, old)
        changed = replace(old, grant=spec.grant, peer_account=spec.peer_account, description=spec.description)
        batch.replace(old, changed)

    def _update_descriptions(self, egress: bool) -> str:
        self.error_on_dryrun()
        group, parameters = self._group(), self.call.parameters
        with self._batch(group) as batch:
            for item in parameters.get("SecurityGroupRuleDescriptions", []):
                rule = batch.by_id(item.get("SecurityGroupRuleId"), egress)
                if rule is None:
                    raise rule_id_not_found(item.get("SecurityGroupRuleId"))
                batch.replace(rule, replace(rule, description=check_description(item.get("Description"))))
            if "SecurityGroupRuleDescriptions" not in parameters:
                for spec in specs(self.ec2_backend, group, parameters, known_only=False):
                    rule = next((rule for rule in batch.rules(egress) if rule.grant == spec.grant), None)
                    if rule is None:
                        raise _rule_not_found()
                    batch.replace(rule, replace(rule, description=spec.description))
        return self.answer("<return>true</return>")

    def _group(self) -> Any:
        """The group that the request names, noted in the journal."""
        group_id, name = self.call.parameters.get("GroupId"), self.call.parameters.get("GroupName")
        if not group_id and not name:
            raise missing("groupId")
        backend = self.ec2_backend
        if group_id:
            group = backend.get_security_group_from_id(group_id)
        else:
            group = backend.get_security_group_from_name(name, backend.default_vpc.id)
        if group is None:
            raise group_not_found(group_id or name)
        self.call.journal.touch(backend, group)
        return group

    def _batch(self, group: Any) -> Batch:
        return Batch(self.ec2_backend, group, self.settings.rulesPerSecurityGroup, self.settings.atomicBatches)

    def _is_used(self, group_id: str) -> bool:
        backend = self.ec2_backend
        if any(group.id == group_id for interface in backend.enis.values() for group in interface.group_set):
            return True
        return any(
            rule.grant.peer == group_id and rule.group_id != group_id
            for groups in backend.groups.values()
            for group in groups.values()
            for rule in (*group.ingress_rules, *group.egress_rules)
        )


def _rule_not_found() -> AwsError:
    return AwsError("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
