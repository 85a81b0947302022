"""The entry of a list that splits, and ours next to it: found again whatever else somebody puts into the list.

Entries that force a version by a header are known by their names, so that they can be taken off again. The entry that
splits is where the user says. Where that is a position, its matches are noted in the mark: whoever puts another entry
before it moves it, and a way back must not be proven by the wrong one.
"""

import hashlib
import json
from collections.abc import Iterable

from activities.kubernetes.marks import Mark
from activities.kubernetes.objects import Json, found_in
from activities.ports import Pool


def forced_name(pool: Pool, place: str | int) -> str:
    """What the entry is called that leads to a pool, next to the split at a place."""
    return f"sluice-{pool}" if place == 0 else f"sluice-{pool}-{place}"


def is_forced(entry: Json) -> bool:
    """Whether an entry is one of ours."""
    name = str(entry.get("name", ""))
    return any(name == ours or name.startswith(f"{ours}-") for ours in ("sluice-candidate", "sluice-stable"))


def split_at(entries: Iterable[Json], place: str | int, what: str, key: str, note: Json) -> tuple[int, Json]:
    """The entry that splits, and its position among all; positions that users write do not count ours.

    Args:
        entries: all of the list.
        place: its name, or its position.
        what: of which list, for the complaint.
        key: where an entry has its matches.
        note: what the last write noted about it (see `noted`): whoever puts an entry before it moves its position.

    Raises:
        Misconfigured: there is none, or two have the name.
    """
    theirs = [(position, entry) for position, entry in enumerate(entries) if not is_forced(entry)]
    alike = [each for each in theirs if "like" in note and not is_other(each[1], key, note)]
    if len(alike) == 1:  # wherever it is by now
        return alike[0]
    found, entry = found_in([entry for _, entry in theirs], place, what)
    return theirs[found][0], entry


# ── What a write notes about its entry, in the mark ─────────────────────────────────────────────────────────────────


def note_of(mark: Mark, place: str | int) -> Json:
    """What the last write noted about the entry at a place; empty if nothing."""
    found = mark.more.get(str(place))
    return found if isinstance(found, dict) else {}


def noted(before: Mark, place: str | int, entry: Json, key: str, *, forced: bool) -> Json:
    """What a write notes, besides what is noted about other entries of the same object.

    Args:
        before: the mark of the write before.
        place: of the entry.
        entry: as it is.
        key: where it has its matches; they tell which one it is, if its name does not.
        forced: whether forced-header entries are left next to it.
    """
    like = {} if isinstance(place, str) else {"like": _likeness(entry, key)}
    return {**before.more, str(place): {**like, **({"forced": True} if forced else {})}}


def forgotten(before: Mark, place: str | int) -> Json:
    """What is still noted when a place is released."""
    return {each: note for each, note in before.more.items() if each != str(place)}


def is_other(entry: Json, key: str, note: Json) -> bool:
    """Whether an entry is not the one that the note is about, as far as that is known."""
    return "like" in note and note["like"] != _likeness(entry, key)


def _likeness(entry: Json, key: str) -> str:
    return hashlib.sha256(json.dumps(entry.get(key), sort_keys=True).encode()).hexdigest()[:12]


def reentered(entries: list[Json], wanted: list[Json], names: set[str], at: int, path: str) -> list[Json]:
    """The JSON patch operations that make some named entries of a list what they should be.

    Args:
        entries: the list as it is.
        wanted: what should be there of those names, in order.
        names: of all that may be there.
        at: before which of the entries they are put.
        path: of the list.
    """
    there = [position for position, entry in enumerate(entries) if entry.get("name") in names]
    if [entries[position] for position in there] == wanted:
        return []
    start = at - sum(position < at for position in there)
    gone: list[Json] = [{"op": "remove", "path": f"{path}/{position}"} for position in reversed(there)]
    fresh = [{"op": "add", "path": f"{path}/{start + n}", "value": entry} for n, entry in enumerate(wanted)]
    return gone + fresh
