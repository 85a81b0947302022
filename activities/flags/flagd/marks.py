"""Sluice's marks in the metadata of a flag: fence, owner, generation, and a sum that shows who wrote last.

Evaluators hand the metadata out with every answer, so what an evaluator has can be told from what is in the file; and
so do they hand it out to browsers, which is why no reason and no person's name is in it. Everything starts with
`sluice`: a flag's metadata often has an `owner` of its own. A file belongs to one environment, so the marks of two
never meet.
"""

import hashlib
import json
from typing import Any

from rollout.base import Told

Json = dict[str, Any]

GENERATION = "sluiceGeneration"
_EPOCH, _OWNER, _FOUND_OFF, _SUM = "sluiceEpoch", "sluiceOwner", "sluiceFoundOff", "sluiceSum"
_OFF_AT = "sluiceOffAt"
_OURS = (GENERATION, _EPOCH, _OWNER, _FOUND_OFF, _OFF_AT, _SUM)
_WRITING = (GENERATION, _SUM)


class Marks(Told):
    """What Sluice's last write left.

    Attributes:
        epoch: fence; 0 if there was none.
        owner: who holds the flag, None if nobody.
        found_off: the rollout that holds it found it switched off.
        generation: of the last write, Unix milliseconds or a little more; None if there was none.
        off_at: when we switched it off, Unix milliseconds; None if it is not we who did, or somebody has changed the
            flag since (who has put back, to the letter, what we wrote is not noticed).
        intact: nobody has changed the flag since.
    """

    epoch: int = 0
    owner: str | None = None
    found_off: bool = False
    generation: int | None = None
    off_at: int | None = None
    intact: bool = False


def marks_of(flag: Json) -> Marks:
    """The marks in a flag; what is not of our making counts as none."""
    metadata = flag.get("metadata") or {}
    epoch, generation, off_at = metadata.get(_EPOCH), metadata.get(GENERATION), metadata.get(_OFF_AT)
    intact = metadata.get(_SUM) == _sum(flag)
    return Marks(
        epoch=epoch if isinstance(epoch, int) else 0,
        owner=str(metadata[_OWNER]) if metadata.get(_OWNER) else None,
        found_off=metadata.get(_FOUND_OFF) is True,
        generation=generation if isinstance(generation, int) else None,
        off_at=off_at if intact and isinstance(off_at, int) else None,
        intact=intact,
    )


def marked(flag: Json, *, epoch: int, owner: str | None, found_off: bool) -> Json:
    """A flag with a write's marks; generation and sum stay for `written`."""
    ours = {_EPOCH: epoch} | ({_OWNER: owner} if owner else {}) | ({_FOUND_OFF: True} if found_off else {})
    kept = {
        name: value for name, value in (flag.get("metadata") or {}).items() if name not in _OURS or name in _WRITING
    }
    return {**flag, "metadata": kept | ours}


def switched(flag: Json, off_at: int | None) -> Json:
    """A flag with the mark of when we switched it off; None: without."""
    kept = {name: value for name, value in (flag.get("metadata") or {}).items() if name != _OFF_AT}
    return {**flag, "metadata": kept | ({} if off_at is None else {_OFF_AT: off_at})}


def written(flag: Json, now_ms: int) -> Json:
    """A flag with a generation that no evaluator has seen, not even one that was shown a restored older file."""
    metadata = flag.get("metadata") or {}
    before = marks_of(flag).generation or 0
    fresh = {**flag, "metadata": {**metadata, GENERATION: max(before + 1, now_ms)}}
    return {**fresh, "metadata": {**fresh["metadata"], _SUM: _sum(fresh)}}


def _sum(flag: Json) -> str:
    metadata = {name: value for name, value in (flag.get("metadata") or {}).items() if name != _SUM}
    text = json.dumps({**flag, "metadata": metadata}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
