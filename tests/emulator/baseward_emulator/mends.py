"""Changes inside moto's models that no subclass can make. They fit the pinned version of moto only."""

from typing import Any

from moto.ec2.models import core, security_groups

from .grants import GROUP, Grant, new_rule, rule_from_moto


def install() -> None:
    """Mend moto's models; once, before the first account exists."""
    models: Any = security_groups
    models.SecurityGroupRule = rule_from_moto  # rules in canonical form, see grants.py
    models.SecurityGroupBackend.get_security_group_from_id = _group_by_id
    models.SecurityGroup.__init__ = _with_default_rules(models.SecurityGroup.__init__)
    tagged: Any = core.TaggedEC2Resource
    tagged.get_tags = _tags


def _group_by_id(backend: Any, group_id: str) -> Any:
    """Mends: moto copies all groups of all VPCs for each look-up."""
    return next((groups[group_id] for groups in backend.groups.values() if group_id in groups), None)


def _tags(resource: Any) -> list[dict[str, str]]:
    """Mends: moto matches the tags of all resources by regular expression to find those of one."""
    tags = resource.ec2_backend.tags.get(resource.id, {})
    return [{"resource_id": resource.id, "key": key, "value": value} for key, value in tags.items()]


def _with_default_rules(original: Any) -> Any:
    def init(group: Any, *args: Any, **kwargs: Any) -> None:
        original(group, *args, **kwargs)
        # Mends: 23 bound methods per group that only moto's own filters use; they are half of a group's memory.
        group.filters = {}
        if group.is_default:
            # Mends: moto forgets that a VPC's default group lets its own members in.
            grant = Grant("-1", None, None, GROUP, group.id)
            group.ingress_rules = [new_rule(group.id, False, grant, group.owner_id)]

    return init
