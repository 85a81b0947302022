"""Where something with an HTTP interface is: what the connections of several backends have in common.

A token is read for every request, so that it may rotate, and never appears in an error: whatever is in its file may be
a secret.
"""

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from activities.secret_file import secret
from rollout.base import Written
from rollout.errors import MetricsUnavailable, RouterUnreachable


class Endpoint(Written):
    """An address and what belongs to every request.

    Attributes:
        url: base URL; without user, password and query.
        token_file: file with a bearer token, read for every request, so that it may rotate.
        headers: more headers.
        ca_file: certificates to trust instead of the public ones, PEM.
        timeout_s: for one request as a whole, seconds.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(pattern=r"^https?://[^@\s?#]+$")
    token_file: Path | None = None
    headers: dict[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$")],
        Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$")],
    ] = Field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    timeout_s: float = Field(default=5, gt=0)

    def authorization(self) -> str | None:
        """The value of the header Authorization; None without a token file.

        Raises:
            MetricsUnavailable: the file cannot be read or holds no token.
        """
        if not self.token_file:
            return None
        try:
            return f"Bearer {secret(self.token_file, 'token')}"
        except RouterUnreachable as error:
            raise MetricsUnavailable(str(error)) from None
