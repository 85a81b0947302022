"""Moments on a command line: `2026-11-20T10:00Z`, Unix seconds, or `-2h` for two hours ago."""

from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from rollout.durations import Duration
from starter.exits import Exit, Sorry

_LONGEST_S = 32_503_680_000  # the year 3000; more are milliseconds
_AGO = TypeAdapter(Duration)


def moment_ms(option: str, written: str, now_ms: int) -> int:
    """Read a moment, as Unix milliseconds.

    Args:
        option: where it was written, for the sentence.
        written: what was; a time without a zone is in UTC, as in Prometheus.
        now_ms: the present, Unix milliseconds.

    Raises:
        Sorry: it is none, or it is yet to come.
    """
    found = _read(written.strip(), now_ms)
    if found is None:
        wanted = "a moment such as 2026-11-20T10:00Z, Unix seconds, or -2h for two hours ago"
        raise Sorry(f"{option}: {wanted} is wanted, not {written!r}", code=Exit.USAGE)
    if not 0 <= found <= now_ms:
        when = "yet to come" if found > now_ms else "before 1970"
        raise Sorry(f"{option}: {written} is {when}", code=Exit.USAGE)
    return found


def _read(written: str, now_ms: int) -> int | None:
    if written == "now":
        return now_ms
    try:
        if written.startswith("-"):
            return now_ms - round(_AGO.validate_python(written[1:]).total_seconds() * 1000)
        if written.replace(".", "", 1).isdecimal() and written.isascii():
            return round(float(written) * 1000) if float(written) <= _LONGEST_S else None
        moment = datetime.fromisoformat(written)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValidationError, ValueError, OverflowError):
        return None
