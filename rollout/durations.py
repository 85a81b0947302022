"""Durations as people write them: `90s`, `5m`, `1h30m`, ISO-8601 (`PT5M`) or a number of seconds.

Pydantic's own `timedelta` refuses `5m`; everything else is left to it. Rendering is the inverse: `text()` of a parsed
value parses to the same value (a property test holds it).
"""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")


def _read(value: object) -> object:
    if isinstance(value, str) and _WRITTEN.fullmatch(value.strip()):
        return _total(_PART.findall(value.strip()))
    if isinstance(value, bool):
        msg = "write a duration such as 90s, 5m, 1h30m, PT5M or a number of seconds"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns ValueError into a field error
    return value


def _total(parts: list[tuple[str, str]]) -> timedelta:
    total = timedelta()
    for number, unit in parts:
        total += (
            timedelta(milliseconds=float(number)) if unit == "ms" else timedelta(seconds=float(number) * _UNITS[unit])
        )
    return total


def text(duration: timedelta) -> str:
    """A duration as a person writes it: `1h30m`, `45s`, `2.5s`, `0s`."""
    left = duration.total_seconds()
    words = []
    for unit in ("d", "h", "m"):
        whole, left = divmod(left, _UNITS[unit])
        if whole:
            words.append(f"{whole:.0f}{unit}")
    if left or not words:
        words.append(f"{left:.3f}".rstrip("0").rstrip(".") + "s")
    return "".join(words)


_SCHEMA = {
    "description": "90s, 5m, 1h30m, ISO-8601 (PT5M), or a number of seconds",
    "anyOf": [
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|[dhms]))+$"},
        {"type": "string", "pattern": r"^P.+$"},
        {"type": "number", "minimum": 0},
    ],
}

Duration = Annotated[
    timedelta, BeforeValidator(_read), Field(ge=timedelta(0)), WithJsonSchema(_SCHEMA, mode="validation")
]
"""A time span of zero or more; on the wire an ISO-8601 string."""
