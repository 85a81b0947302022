"""Who moves a flag, kept in the flag itself: as custom properties, in the very patch that moves the weights.

Every mark is a property of its own: `sluice.<environment>.<epoch>.<whose>`. LaunchDarkly carries out the instructions
of a patch on the flag as it is then, not as its author saw it, and knows no other way of saying "only if nobody was
faster". So a write takes off only the marks that it saw and puts on its own: after two writes at once both marks are
there, and who came last sees in the answer that it did, and gives way (`patches.give_way`).

Rejected: tags, which allow no slash and clutter the list of flags; one property for all, where the last one erases the
trace of the others; a JSON patch with a `test` of the version, which guards nothing where a flag's environments differ.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

from activities.flags.launchdarkly.shape import Json
from rollout.base import percent_text

_CHUNK = 50  # characters of an owner in one value, which has 64 at most
_LONGEST_PLACE = 30


class Mark(NamedTuple):
    """What one write left.

    Attributes:
        epoch: its fence; 0 if there was none.
        owner: who holds the flag; None if nobody.
        percent: what it asked for.
        found_off: whether the flag was off when its rollout began.
        key: of the property.
        values: of the property.
    """

    epoch: int = 0
    owner: str | None = None
    percent: float = 0
    found_off: bool = False
    key: str = ""
    values: tuple[str, ...] = ()


def mark(environment: str, epoch: int, writer: str, *, released: bool, percent: float, found_off: bool) -> Mark:
    """The mark of a write.

    Args:
        environment: where.
        epoch: fence.
        writer: who writes.
        released: whether nobody holds the flag afterwards.
        percent: what is written.
        found_off: whether the flag was off when this rollout began.
    """
    owner = None if released else writer
    chunks = [] if owner is None else [owner[at : at + _CHUNK] for at in range(0, len(owner), _CHUNK)]
    values = [f"percent={percent:.10g}", *(f"owner.{number}={chunk}" for number, chunk in enumerate(chunks))]
    if found_off:
        values.append("found-off")
    key = f"{_prefix(environment)}{epoch}.{sha256(writer.encode()).hexdigest()[:8]}"
    return Mark(epoch, owner, percent, found_off, key, tuple(values))


def marks(properties: Mapping[str, Json], environment: str) -> tuple[Mark, ...]:
    """All marks of an environment, the newest last; what only looks like one is left out."""
    found = []
    for key, each in properties.items():
        match = re.fullmatch(re.escape(_prefix(environment)) + r"(\d{1,18})\.[0-9a-f]{8}", key)
        values = tuple(str(value) for value in each.get("value") or ())
        said = dict(value.partition("=")[::2] for value in values)
        if match and re.fullmatch(r"\d{1,3}(\.\d+)?(e-\d+)?", said.get("percent", "")):
            chunks = sorted((int(name[6:]), chunk) for name, chunk in said.items() if re.fullmatch(r"owner\.\d+", name))
            owner = "".join(chunk for _, chunk in chunks) or None
            found.append(Mark(int(match[1]), owner, float(said["percent"]), "found-off" in said, key, values))
    return tuple(sorted(found, key=lambda one: (one.epoch, one.key)))


def marked(held: tuple[Mark, ...], own: Mark, environment: str) -> list[Json]:
    """Instructions after which one mark is left.

    Args:
        held: the marks that were seen.
        own: the one to leave.
        environment: where.
    """
    name = f"Sluice, epoch {own.epoch}: {environment}"[:64]
    gone = unmarked(each for each in held if each.key != own.key)
    before = next((each for each in held if each.key == own.key), None)
    if before is not None and set(before.values) == set(own.values):
        return gone
    kind = "addCustomProperties" if before is None else "replaceCustomProperties"
    return [*gone, {"kind": kind, "key": own.key, "name": name, "values": list(own.values)}]


def unmarked(held: Iterable[Mark]) -> list[Json]:
    """Instructions that take marks off."""
    return [{"kind": "removeCustomProperties", "key": each.key, "values": list(each.values)} for each in held]


def told(one: Mark) -> str:
    """A mark for the history."""
    held = f", held by {one.owner}" if one.owner else ""
    return f"epoch {one.epoch} ({percent_text(one.percent)}{held})"


def _prefix(environment: str) -> str:
    place = environment
    if len(place) > _LONGEST_PLACE:  # a key has 64 characters at most
        place = sha256(environment.encode()).hexdigest()[:16]
    return f"sluice.{place}."
