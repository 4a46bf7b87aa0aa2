"""Lambda's API for one call."""

from .code_signing import CodeSigning
from .concurrency import Concurrency
from .functions import Functions
from .layers import Layers
from .modes import Modes
from .policies import Policies
from .tags import Tags
from .urls import Urls
from .versions import Versions


class Lambda(CodeSigning, Concurrency, Functions, Layers, Modes, Policies, Tags, Urls, Versions):
    """All operations."""
