"""Where an Unleash is, as the worker's settings say it."""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from rollout.base import Written


class UnleashConnection(Written):
    """Where an Unleash is, and for one environment the tokens that Sluice has there.

    Attributes:
        kind: always "unleash".
        url: base URL, the part in front of `/api`; without user, password and query.
        token_file: file with the token of a service account, a person or an admin, which may switch the flags of the
            environment and change their strategies; read for every request, so that it may rotate.
        client_token_file: file with a backend token of the environment. With it Sluice asks for flags as applications
            do, and evaluates them as they do; without it nothing can be proven.
        ca_file: certificates to trust instead of the public ones, PEM.
        refresh_s: how often applications ask for changes, seconds; 15 in Unleash's SDKs unless they are told otherwise.
        timeout_s: for one request, seconds.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["unleash"] = "unleash"
    url: str = Field(pattern=r"^https?://[^@\s?#]+$")
    token_file: Path
    client_token_file: Path | None = None
    ca_file: Path | None = None
    refresh_s: float = Field(default=15, ge=0)
    timeout_s: float = Field(default=5, gt=0)
