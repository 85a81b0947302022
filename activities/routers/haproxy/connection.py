"""Where an HAProxy is, as the worker's settings say it."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from rollout.base import Written
from rollout.durations import Duration


class HaproxyConnection(Written):
    """Where an HAProxy is.

    Attributes:
        kind: always "haproxy".
        socket: its runtime socket of `level admin`: path of a Unix socket, or `host:port`.
        folder: of the map files, by the very path that haproxy.cfg names; this worker may write there. HAProxy's
            commands are words, so it has no blanks, semicolons or backslashes.
        timeout_s: for one line of commands, seconds.
        hard_stop_after: how long a process that a reload replaced may finish its requests, as haproxy.cfg says by that
            name. As long after a start nobody can say what is still in flight there. 0s if it is never reloaded.
    """

    kind: Literal["haproxy"] = "haproxy"
    socket: str = Field(pattern=r"^(/.+|[^/@\s]+:\d{1,5})$")
    folder: Path
    timeout_s: float = Field(default=2, gt=0)
    hard_stop_after: Duration = timedelta(seconds=60)

    @field_validator("folder")
    @classmethod
    def _one_word(cls, folder: Path) -> Path:
        if re.search(r"[\s;\\]", str(folder)):
            msg = (
                f"HAProxy's commands cannot name {str(folder)!r}: choose one without blanks, semicolons and backslashes"
            )
            raise ValueError(msg)
        return folder
