"""Who wrote a rule last, in its tags: for the default rule, which AWS gives no tags of its own, on the listener.

AWS has no compare-and-set and nothing that changes tags and weights at once. So every write has a tag of its own,
`sluice:epoch-<n>`, that says first `writing` and at the end `written`: a crash in between is seen, and a late writer
can never put its mark over a newer one. It adds its own, finds the newer one beside it, and stops.
`sluice:sticky-before` remembers how users were kept on a target group before Sluice first wrote.

A tag's value holds letters, digits, spaces and `_.:/=+-@`, at most 256; anything else in an owner becomes `=<hex>=`.
"""

import re
from collections.abc import Mapping

from activities.aws import Json
from activities.ports import Write
from activities.routers.alb.split_rules import weights
from rollout.base import Told

Tags = Mapping[str, str]

BEFORE = "sluice:sticky-before"
OWN = (BEFORE, "sluice:epoch-")
_KEY = re.compile(r"sluice:epoch-(\d+)")
_VALUE = re.compile(
    r"(?P<phase>writing|written) percent=(?P<percent>[\d.]+) header=(?P<header>yes|no) at=(?P<at>[\d.]+)"
    r" owner=(?P<owner>.*)",
    re.DOTALL,
)
_STRANGE = re.compile(r"[^A-Za-z0-9 _.:/+@-]")
_ESCAPED = re.compile(r"=([0-9a-f]+)=")


class Mark(Told):
    """One write, as its tag tells it.

    Attributes:
        epoch: the fence.
        percent: for the candidate.
        header: whether forced-header rules were wanted.
        at: when it was tagged, Unix seconds.
        owner: who holds the route since; None if it released it.
        done: whether all of it was written; else it may be under way, or have died.
    """

    epoch: int = 0
    percent: float = 0
    header: bool = False
    at: float = 0
    owner: str | None = None
    done: bool = True

    @property
    def key(self) -> str:
        """The tag's key."""
        return f"sluice:epoch-{self.epoch}"

    def begun(self, owner: str, at: float) -> "Mark":
        """The mark of the same write while it is under way: until a release ends, the route has its owner."""
        return self.model_copy(update={"owner": owner, "at": at, "done": False})

    def tag(self) -> dict[str, str]:
        """As AWS takes it."""
        phase, header = "written" if self.done else "writing", "yes" if self.header else "no"
        owner = _escaped(self.owner or "")
        value = f"{phase} percent={self.percent:g} header={header} at={self.at:.3f} owner={owner}"
        return {"Key": self.key, "Value": value}


def mark_of(write: Write, *, header: bool) -> Mark:
    """The mark of a write that ended: nobody's after a release. `at` is not known yet."""
    owner = None if write.release else write.owner
    return Mark(epoch=write.epoch, percent=write.percent, header=header, owner=owner)


def owner_tag(owner: str) -> dict[str, str]:
    """Tells people whose a forced rule is."""
    return {"Key": "sluice:owner", "Value": _escaped(owner)}


def marks(tags: Tags) -> list[Mark]:
    """Every mark, newest first. A tag that was changed by hand into something else still counts as a fence."""
    found = []
    for key, value in tags.items():
        if not (epoch := _KEY.fullmatch(key)):
            continue
        try:
            found.append(_read(int(epoch[1]), value))
        except ValueError:
            found.append(Mark(epoch=int(epoch[1]), done=False))
    return sorted(found, key=lambda mark: -mark.epoch)


def before(sticky: Json) -> dict[str, str]:
    """The tag that remembers how users were kept."""
    word = "on" if sticky.get("Enabled") else "off" if sticky else "unset"
    return {"Key": BEFORE, "Value": " ".join((word, *map(str, filter(None, [sticky.get("DurationSeconds")]))))}


def sticky_before(tags: Tags) -> Json | None:
    """How users were kept before, as AWS writes it; None if Sluice has not written yet, or it is not known."""
    found = re.fullmatch(r"(on|off|unset)(?: (\d+))?", tags.get(BEFORE, ""))
    if found is None:
        return None
    if found[1] == "unset":
        return {}
    return {"Enabled": found[1] == "on", **({"DurationSeconds": int(found[2])} if found[2] else {})}


def _escaped(owner: str) -> str:
    return _STRANGE.sub(lambda found: f"={ord(found.group()):x}=", owner)


def _read(epoch: int, value: str) -> Mark:
    found = _VALUE.fullmatch(value)
    if found is None:
        raise ValueError(value)
    told = found.groupdict()
    weights(float(told["percent"]))  # refuses a percent that no write of ours has
    owner = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), told["owner"]) or None
    return Mark.model_validate({**told, "epoch": epoch, "owner": owner, "done": told["phase"] == "written"})
