"""Where an Envoy is, as the worker's settings say it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from rollout.base import Written


class EnvoyConnection(Written):
    """Where an Envoy is.

    Attributes:
        kind: always "envoy".
        admin: URL of the admin interface, without user and password.
        routes: folder of the route files, which Envoy reads and this worker may write; for `weights: file`.
        runtime: folder of the runtime layers, which Envoy watches and this worker may write; for `weights: runtime`.
        timeout_s: for one request to the admin interface, seconds.
    """

    kind: Literal["envoy"] = "envoy"
    admin: str = Field(pattern=r"^https?://[^@\s]+$")
    routes: Path | None = None
    runtime: Path | None = None
    timeout_s: float = Field(default=2, gt=0)
