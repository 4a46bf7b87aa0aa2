"""moto's EC2, with the operations that the layer does better in front of it."""

from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response

from .call import Call
from .describe import Describes
from .errors import AwsError
from .networks import Networks
from .operations import prepare
from .permissions import rule_id_not_found
from .prefix_lists import PrefixLists
from .security_groups import SecurityGroupWrites
from .settings import AccountSettings


class Ec2(SecurityGroupWrites, Describes, Networks, PrefixLists, EC2Response):
    """The EC2 API for one call."""

    def __init__(self, call: Call, settings: AccountSettings) -> None:
        super().__init__()
        prepare(self, call)
        self.call, self.settings = call, settings

    def create_tags(self) -> Any:
        """Tag resources. Mends: moto tags rules that do not exist, and crashes on network interfaces."""
        interfaces = [resource for resource in self._tagged() if resource.startswith("eni-")]
        for interface in interfaces:
            if interface not in self.ec2_backend.enis:
                raise AwsError(
                    "InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{interface}' does not exist"
                )
        self._journal_tagged()
        if not interfaces:
            return super().create_tags()
        self.error_on_dryrun()
        tags = {tag["Key"]: tag.get("Value", "") for tag in self.call.parameters["Tags"]}
        self.ec2_backend.create_tags(self._tagged(), tags)
        return self.answer("<return>true</return>")

    def delete_tags(self) -> Any:
        """Remove tags."""
        self._journal_tagged()
        return super().delete_tags()

    def _tagged(self) -> list[str]:
        resources: list[str] = self.call.parameters["Resources"]
        return resources

    def _journal_tagged(self) -> None:
        """Note the groups whose tags or whose rules' tags are about to change."""
        for resource in self._tagged():
            if resource.startswith("sg-"):
                self.call.journal.touch(self.ec2_backend, self.group_of(resource))
            elif resource.startswith("sgr-"):
                self.call.journal.touch(self.ec2_backend, self._group_with_rule(resource))

    def _group_with_rule(self, rule_id: str) -> Any:
        for group in self.groups_of(None):
            if any(rule.id == rule_id for rule in (*group.ingress_rules, *group.egress_rules)):
                return group
        raise rule_id_not_found(rule_id)


def backend(account: str, region: str) -> Any:
    """moto's EC2 of an account in a region, made on first use."""
    return ec2_backends[account][region]
