"""The state of Lambda in one account and region.

Nothing in it is changed in place: a write puts a new `Function` into the region, so that whoever keeps the old one
has the state from before. Qualifiers are aliases and versions; the empty one stands for the function itself.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any

LATEST = "$LATEST"
Configuration = dict[str, Any]


@dataclass(frozen=True)
class Policy:
    """A resource policy with a revision of its own."""

    revision: str
    statements: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Transition:
    """What time will do to the configuration: from `due` on it has the fields of `ends`.

    `restored` is the configuration that comes back, if the update fails and takes its changes with it.
    """

    due: float
    ends: dict[str, Any]
    restored: Configuration | None = None


@dataclass(frozen=True)
class Function:
    """One function with all that belongs to it. Configurations are as GetFunctionConfiguration answers them."""

    name: str
    arn: str
    versions: dict[str, Configuration]
    transition: Transition | None = None
    aliases: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    urls: dict[str, dict[str, Any]] = field(default_factory=dict)
    event_invoke: dict[str, dict[str, Any]] = field(default_factory=dict)
    runtime_management: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    ever_tagged: bool = False
    reserved: int | None = None
    code_signing: str | None = None
    recursion: str = "Terminate"
    image: str | None = None

    @property
    def latest(self) -> Configuration:
        """The configuration that can be written."""
        return self.versions[LATEST]

    def qualified(self, qualifier: str) -> str:
        """The ARN with a qualifier."""
        return f"{self.arn}:{qualifier}" if qualifier else self.arn

    def version_of(self, qualifier: str) -> str | None:
        """The version that a qualifier stands for, None for an unknown one."""
        version = self.aliases[qualifier]["FunctionVersion"] if qualifier in self.aliases else qualifier or LATEST
        return version if version in self.versions else None


@dataclass(frozen=True)
class LayerVersion:
    """One version of a layer, as ListLayerVersions answers it."""

    summary: dict[str, Any]
    policy: Policy | None = None


@dataclass
class Region:
    """Lambda of one account in one region."""

    account: str
    name: str
    functions: dict[str, Function] = field(default_factory=dict)
    layers: dict[str, dict[int, LayerVersion]] = field(default_factory=dict)
    code_signing_configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    code_signing_tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def arn(self, kind: str, name: str) -> str:
        """The ARN of something of this region."""
        return f"arn:aws:lambda:{self.name}:{self.account}:{kind}:{name}"


_REGIONS: dict[tuple[str, str], Region] = {}


def region_of(account: str, name: str) -> Region:
    """Lambda of an account in a region, made on first use."""
    return _REGIONS.setdefault((account, name), Region(account, name))


def new_revision() -> str:
    """A revision that nothing had before."""
    return str(uuid.uuid4())
