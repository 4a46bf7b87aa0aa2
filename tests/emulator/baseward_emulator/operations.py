"""What the layer's own EC2 operations share."""

from typing import Any

from moto.ec2.responses._base_response import EC2BaseResponse
from moto.utilities.utils import get_partition

from . import wire
from .call import Call
from .errors import AwsError
from .permissions import group_not_found
from .settings import AccountSettings


class Operations(EC2BaseResponse):
    """Base of the layer's EC2 operations, which stand before moto's in the order of methods."""

    call: Call
    settings: AccountSettings

    def error_on_dryrun(self) -> None:
        """Mends: moto answers 400 to a dry run, AWS 412."""
        if self.call.parameters.get("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)

    def answer(self, content: str, next_token: str | None = None) -> str:
        """The whole response around its content."""
        return wire.envelope(self.call.operation, self.call.request_id, content, next_token)

    def conditions(self) -> list[dict[str, Any]]:
        """The filters of a describe. Mends: moto takes any number of them."""
        parameters = self.call.parameters
        given: list[dict[str, Any]] = parameters.get("Filters", parameters.get("Filter", []))
        if len(given) > 50 or any(len(condition.get("Values", ())) > 200 for condition in given):
            raise AwsError(
                "FilterLimitExceeded", "You can specify up to 50 filters with up to 200 values each in a request."
            )
        return given

    def groups_of(self, ids: list[str] | None) -> list[Any]:
        """Groups by id, or all."""
        if not ids:
            return [group for groups in self.ec2_backend.groups.values() for group in groups.values()]
        return [self.group_of(group_id) for group_id in dict.fromkeys(ids)]

    def group_of(self, group_id: str) -> Any:
        """One group by its id."""
        if not group_id.startswith("sg-"):
            raise AwsError("InvalidGroupId.Malformed", f'Invalid id: "{group_id}" (expecting "sg-...")')
        group = self.ec2_backend.get_security_group_from_id(group_id)
        if group is None:
            raise group_not_found(group_id)
        return group

    @property
    def rule_arn_prefix(self) -> str:
        """The ARN of a rule without its id."""
        return f"arn:{self.partition}:ec2:{self.region}:{self.call.account}:security-group-rule/"


def prepare(response: Any, call: Call) -> None:
    """Give a moto response object its request.

    In place of moto's own set-up, which parses the request again, guesses account and region from it,
    and searches all accounts for the access key.
    """
    response.params = call.parameters
    response.uri_match = {}
    response.querystring = {"Action": [call.operation], **{name: [value] for name, value in call.form.items()}}
    response.headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response.response_headers = {}
    response.body = None
    response.region = call.region
    response.partition = get_partition(call.region)
    response.current_account = call.account
    response.access_key = call.access_key
