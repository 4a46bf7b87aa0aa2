"""Layers, their versions and who may use them."""

import json
from dataclasses import replace
from typing import Any

from .configuration import now
from .errors import not_found
from .model import LayerVersion, Policy, Region
from .operations import Operations
from .statements import check_policy_revision, policy_answer, principal_of, with_statement, without_statement

CARRIED = ("Description", "CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo")


class Layers(Operations):
    """The operations."""

    def list_layers(self) -> dict[str, Any]:
        """The latest version of each layer that fits, in pages."""
        items = []
        for name, versions in self.region.layers.items():
            fitting = self._fitting(versions)
            if fitting:
                arn = self.region.arn("layer", name)
                items.append({"LayerName": name, "LayerArn": arn, "LatestMatchingVersion": fitting[0]})
        return self.page("Layers", items)

    def list_layer_versions(self) -> dict[str, Any]:
        """The versions of a layer that fit, the latest first, in pages."""
        return self.page("LayerVersions", self._fitting(self.region.layers.get(self._layer_name(), {})))

    def publish_layer_version(self) -> dict[str, Any]:
        """Make a version."""
        name = self._layer_name()
        number = max(self.region.layers.get(name, {}), default=0) + 1
        self.call.function_journal.touch_layer(self.region, name, number)
        version = add_layer_version(self.region, name, number, self.parameters)
        content = {"Location": f"https://layers.{self.region.name}.example/{name}/{number}", "CodeSize": 1024}
        return {**version.summary, "LayerArn": self.region.arn("layer", name), "Content": content}

    def get_layer_version_policy(self) -> dict[str, Any]:
        """The policy of a version."""
        policy = self._version().policy
        if policy is None:
            raise not_found("No policy is associated with the given resource.")
        return policy_answer(policy)

    def add_layer_version_permission(self) -> dict[str, Any]:
        """Add a statement."""
        version, request = self._version(), self.parameters
        check_policy_revision(version.policy, request.get("RevisionId"), "GetLayerPolicy")
        statement: dict[str, Any] = {
            "Sid": request["StatementId"],
            "Effect": "Allow",
            "Principal": principal_of(request["Principal"]),
            "Action": request["Action"],
            "Resource": version.summary["LayerVersionArn"],
        }
        if organization := request.get("OrganizationId"):
            statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": organization}}
        policy = with_statement(version.policy, statement)
        self._put_layer_policy(version, policy)
        return {"Statement": json.dumps(statement), "RevisionId": policy.revision}

    def remove_layer_version_permission(self) -> None:
        """Remove a statement."""
        version, request = self._version(), self.parameters
        rest = without_statement(version.policy, request["StatementId"])
        check_policy_revision(version.policy, request.get("RevisionId"), "GetLayerPolicy")
        self._put_layer_policy(version, rest)

    def _layer_name(self) -> str:
        """The name of the layer that the call names by name or ARN."""
        given: str = self.parameters["LayerName"]
        if given.startswith("arn:"):
            _, _, _, region, account, _, name = given.split(":")[:7]
            self.check_reachable(account, region, given)
            return name
        return given

    def _version(self) -> LayerVersion:
        name, number = self._layer_name(), self.parameters["VersionNumber"]
        version = self.region.layers.get(name, {}).get(number)
        if version is None:
            raise not_found(f"Layer version {self.region.arn('layer', name)}:{number} does not exist.")
        return version

    def _put_layer_policy(self, version: LayerVersion, policy: Policy | None) -> None:
        name, number = self._layer_name(), self.parameters["VersionNumber"]
        self.call.function_journal.touch_layer(self.region, name, number)
        self.region.layers[name][number] = replace(version, policy=policy)

    def _fitting(self, versions: dict[int, LayerVersion]) -> list[dict[str, Any]]:
        """The versions that are compatible with what the call asks for, the latest first."""
        wanted = {
            "CompatibleRuntimes": self.parameters.get("CompatibleRuntime"),
            "CompatibleArchitectures": self.parameters.get("CompatibleArchitecture"),
        }
        summaries = [versions[number].summary for number in sorted(versions, reverse=True)]
        return [
            summary
            for summary in summaries
            if all(value is None or value in summary.get(name, ()) for name, value in wanted.items())
        ]


def add_layer_version(
    region: Region, name: str, number: int, given: dict[str, Any], policy: Policy | None = None
) -> LayerVersion:
    """A new version, put into the region."""
    summary = {
        "LayerVersionArn": f"{region.arn('layer', name)}:{number}",
        "Version": number,
        "CreatedDate": now(),
        **{key: given[key] for key in CARRIED if key in given},
    }
    version = LayerVersion(summary, policy)
    region.layers.setdefault(name, {})[number] = version
    return version
