"""Where a move is: what was wanted, what both Deployments have, and what the next step may be. Pure.

A percent is reached in two steps, make before break: first the side that grows, then, as its pods are ready, the other.
The mark says what is wanted and where the move began, so anything between the two is a move under way, whoever goes on
with it, and anything else is somebody's doing.
"""

from typing import NamedTuple

from activities.kubernetes import Mark, suspects, written
from activities.ports import Write
from activities.routers.replicas.deployments import Pods
from activities.routers.replicas.split import Aim, aim, share
from rollout.base import percent_text
from rollout.errors import Misconfigured

_TOTAL, _FROM = "total", "from"
_PATIENCE_S, _EVERY_S = 60.0, 10.0


class Standing(NamedTuple):
    """Both Deployments as they were read."""

    candidate: Pods
    stable: Pods

    @property
    def mark(self) -> Mark:
        """Who wrote last: it is on stable's."""
        return self.stable.mark

    @property
    def epoch(self) -> int:
        """The newest fence: the candidate has one too, and may have been stable before."""
        return max(self.stable.mark.epoch, self.candidate.mark.epoch)

    @property
    def owner(self) -> str | None:
        """Who holds either of them."""
        return self.stable.mark.owner or self.candidate.mark.owner

    @property
    def wanted(self) -> Aim:
        """The pods that both shall have."""
        return Aim(self.candidate.wanted, self.stable.wanted)

    @property
    def total(self) -> int:
        """Pods that all the traffic needs: as at the start of the rollout, or all that there are."""
        known = _whole(self.mark.more.get(_TOTAL))
        return sum(self.wanted) if known is None or self.drifted_from(known) else known

    @property
    def percent(self) -> float:
        """What was written if that is where they are or go to, else what their numbers make."""
        known = self.mark.percent
        if known is None or self.strayed:
            return share(*self.wanted)
        return known

    @property
    def aimed(self) -> Aim | None:
        """The pods that the last write wants; None if nothing was written."""
        total = _whole(self.mark.more.get(_TOTAL))
        if self.mark.percent is None or total is None:
            return None
        try:
            return aim(self.mark.percent, total)
        except Misconfigured:
            return None

    @property
    def there(self) -> bool:
        """Whether both shall have what was written."""
        return self.aimed is not None and self.wanted == self.aimed

    @property
    def under_way(self) -> bool:
        """Whether they are between where the last write found them and what it wants."""
        start = self.mark.more.get(_FROM)
        if self.aimed is None or not isinstance(start, list) or [type(each) for each in start] != [int, int]:
            return False
        sides = zip(self.wanted, start, self.aimed, strict=True)
        return all(min(one, other) <= now <= max(one, other) for now, one, other in sides)

    @property
    def strayed(self) -> bool:
        """Whether somebody else has scaled them since the last write."""
        return not (self.there or self.under_way)

    def drifted_from(self, total: int) -> bool:
        """Whether a total counts no more: nobody holds the route, and it was scaled since."""
        return self.mark.owner is None and self.strayed and sum(self.wanted) != total

    def drift(self) -> str | None:
        """Which of them its owner has not scaled so, and who may have; None if both are right."""
        if self.mark.owner is None or self.aimed is None or not self.strayed:
            return None
        ends = zip((self.candidate, self.stable), self.aimed, strict=True)
        found = [
            f"Deployment {pods.name} has {pods.wanted} replicas, we wrote {count}"
            + (suspects(pods.found, "f:spec", "f:replicas") if pods.found else "")
            for pods, count in ends
            if pods.wanted != count
        ]
        return "; ".join(found)

    def unproven(self) -> str | None:
        """Why the percent is not in force; None if it is."""
        if drift := self.drift():
            return drift
        if self.percent == 0:  # whatever stable has: none of the requests can get to the candidate
            return None if self.candidate.empty else f"{_counted(self.candidate)}, none shall be left"
        if self.percent == 100 and self.stable.empty and self.candidate.ready >= self.candidate.wanted:
            return None
        if self.mark.owner is not None and not self.there:
            return f"{_counted(self.candidate)}, {_counted(self.stable)}: on the way to {self._target()}"
        late = [_counted(pods) for pods in (self.candidate, self.stable) if not pods.arrived]
        return ", ".join(late) or None

    def proof(self) -> str:
        """What is reached, beside what was asked."""
        mine, all_ = self.candidate.ready, self.candidate.ready + self.stable.ready
        reached = share(mine, self.stable.ready)
        asked = "" if reached == self.percent else f", asked {percent_text(self.percent)}"
        words = f"{mine} of {all_} ready pods are the candidate's: {percent_text(reached)}{asked}"
        return f"{words}; epoch {self.mark.epoch}"

    def _target(self) -> str:
        return f"{self.aimed.candidate} and {self.aimed.stable}" if self.aimed else "none"


class Step(NamedTuple):
    """What a write has to do next.

    Attributes:
        aim: the pods that it wants in the end.
        mark: to be on stable's Deployment before anything moves.
        total: pods of both in the end.
    """

    aim: Aim
    mark: Mark
    total: int


def step(now: Standing, write: Write, at: float) -> Step:
    """What a write wants, given where things are.

    Args:
        now: both Deployments.
        write: percent, epoch and owner.
        at: Unix seconds.

    Raises:
        Misconfigured: the pods cannot be split so.
    """
    before = now.mark
    kept = _whole(before.more.get(_TOTAL)) if before.epoch == write.epoch else None
    total = now.total if kept is None else kept
    if write.percent == 0:  # who made them more had a reason, and the way back is no time to doubt it
        total = max(total, now.stable.wanted, sum(now.wanted) if now.strayed else 0)
    wanted = aim(write.percent, total)
    mark = written(write, at, total=total)
    if same := (before.epoch, before.owner, before.percent) == (mark.epoch, mark.owner, mark.percent):
        mark = mark.model_copy(update={"at": before.at})
    if now.wanted != wanted:
        start = before.more.get(_FROM) if same and now.under_way else list(now.wanted)
        mark = mark.model_copy(update={"more": {**mark.more, _FROM: start}})
    return Step(wanted, mark, total)


def arrived(mark: Mark) -> Mark:
    """The mark of a move that is done."""
    return mark.model_copy(update={"more": {key: value for key, value in mark.more.items() if key != _FROM}})


def kept(now: Standing, wanted: Step, age_s: float) -> int:
    """Pods of the candidate that must stay until more of stable's are ready.

    Both together never have fewer ready pods than stable's own rolling updates may leave. After a minute one more goes
    every ten seconds all the same: stable's may be waiting for the room that the candidate's take, or may never come,
    and a bad candidate must not stay because of that. The last one stays while stable has none: bad is not as bad as
    nobody.

    Args:
        now: both Deployments.
        wanted: see `step`.
        age_s: since when stable was told to grow, seconds.
    """
    late = 0 if age_s < _PATIENCE_S else 1 + int((age_s - _PATIENCE_S) // _EVERY_S)
    needed = wanted.total - now.stable.tolerates(wanted.total) - late - now.stable.ready
    candidate = now.candidate
    useful = min(candidate.wanted, candidate.ready) if candidate.observed else candidate.wanted
    least = 0 if now.stable.ready else 1
    return max(wanted.aim.candidate, min(useful, max(needed, least)))


def _counted(pods: Pods) -> str:
    state = f"{pods.ready} of {pods.wanted} pods of {pods.name} are ready"
    surplus = pods.running - pods.wanted
    return f"{state} ({surplus} too many)" if pods.observed and surplus > 0 else state


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
