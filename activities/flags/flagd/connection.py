"""Where flag files are, and who evaluates them, as the worker's settings say it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from rollout.base import Written


class FlagdConnection(Written):
    """Flag files in flagd's format.

    Attributes:
        kind: always "flagd".
        folder: folder of the flag files, in which this worker may write: files are replaced by rename, beside a lock.
        ofrep: base URL of an evaluator that applications ask (flagd's port 8016, or any other that speaks OFREP);
            None where they evaluate the file themselves: then a proof evaluates the file as it is on disk.
        timeout_s: for a proof by that evaluator as a whole, seconds.
        applications_look_every_s: how often applications, or flagd, look whether the file was replaced, seconds.
    """

    kind: Literal["flagd"] = "flagd"
    folder: Path
    ofrep: str | None = Field(default=None, pattern=r"^https?://[^@\s?#]+$")
    timeout_s: float = Field(default=5, gt=0)
    applications_look_every_s: float = Field(default=1, ge=0)
