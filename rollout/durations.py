"""Durations as people write them: `90s`, `5m`, `1h30m`, ISO-8601 (`PT5M`) or a number of seconds.

Pydantic's own `timedelta` refuses `5m`; ISO-8601 and numbers are left to it. Rendering is the inverse: `text()` of a
parsed value parses to the same value (a property test holds it). Nothing is longer than a year: sums of durations must
not overflow, and nobody bakes that long on purpose.
"""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

LONGEST = timedelta(days=365)
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")


def _read(value: object) -> object:
    if isinstance(value, str) and _WRITTEN.fullmatch(value.strip()):
        try:
            return _total(_PART.findall(value.strip()))
        except OverflowError:
            return LONGEST + timedelta.resolution  # refused with the sentence of the limit
    if isinstance(value, bool) or (isinstance(value, str) and not value.startswith("P")):
        msg = "write a duration such as 90s, 5m, 1h30m, PT5M or a number of seconds"
        raise ValueError(msg)
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
        words.append(f"{left:.6f}".rstrip("0").rstrip(".") + "s")
    return "".join(words)


def limited(least: timedelta, most: timedelta = LONGEST) -> AfterValidator:
    """Limits of one field; `Field(ge=…, le=…)` would be overruled by those that every duration has."""

    def check(duration: timedelta) -> timedelta:
        if not least <= duration <= most:
            raise ValueError(f"{text(least)} to {text(most)} is possible")
        return duration

    return AfterValidator(check)


_SCHEMA = {
    "description": "90s, 5m, 1h30m, ISO-8601 (PT5M), or a number of seconds",
    "anyOf": [
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|[dhms]))+$"},
        {"type": "string", "pattern": r"^P.+$"},
        {"type": "number", "minimum": 0},
    ],
}

Duration = Annotated[
    timedelta,
    Field(ge=timedelta(0), le=LONGEST),  # in front: behind a function its messages would show Python
    BeforeValidator(_read),
    WithJsonSchema(_SCHEMA, mode="validation"),
]
"""A time span from zero to a year; on the wire an ISO-8601 string."""
