"""What this worker knows of one rule and AWS does not say: which writes are under way, and what was described last."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from activities.aws import AwsClients
from activities.ports import Write
from activities.routers.alb.finding import Site

_BELIEVED_S = 600.0  # how long what was described may stand for what AWS does not describe
_LATE = 2  # timeouts after which a call without an answer is believed to be carried out, or never


class Memory:
    """One rule's; shared by all routers of a connection, lost when the worker ends."""

    def __init__(self, aws: AwsClients, place: tuple[object, ...]) -> None:
        """Take where it is kept, and which rule it is about."""
        self._of, self._place = aws.memory, place
        self._late_s = _LATE * aws.connection.timeout_s

    @contextmanager
    def writing(self, epoch: int) -> Iterator[None]:
        """A write is under way."""
        token = object()
        self._writes[token] = (epoch, math.inf)
        try:
            yield
        finally:
            self._writes.pop(token, None)

    def lost(self, epoch: int) -> None:
        """AWS did not say whether it moved traffic for this write: it may still do so for a while."""
        self._writes[object()] = (epoch, time.monotonic() + self._late_s)

    def older_under_way(self, epoch: int) -> int | None:
        """The epoch of a write that is older than this one and may still be carried out."""
        now = time.monotonic()
        for token, (_, until) in list(self._writes.items()):
            if until < now:
                del self._writes[token]
        return next((each for each, _ in self._writes.values() if each < epoch), None)

    def seen(self, site: Site) -> None:
        """Remember what AWS described."""
        self._of["alb", self._place] = site, time.monotonic()

    def known(self, write: Write) -> Site | None:
        """What was described last, if a way back may trust it: it is new, and carries a mark of the same rollout."""
        site, at = self._of.get(("alb", self._place), (None, 0.0))
        if site is None or time.monotonic() - at > _BELIEVED_S:
            return None
        mine = any(mark.owner == write.owner or mark.epoch == write.epoch for mark in site.marks)
        return site if mine else None

    def wrote_unseen(self, epoch: int) -> None:
        """A write was made of what was described last."""
        _, at = self._of["alb", self._place]
        self._of.setdefault(("alb unseen", self._place, epoch), round(time.monotonic() - at))

    def unseen(self, epoch: int) -> str:
        """What to say of a write that was made without looking; empty if it was not."""
        age_s = self._of.get(("alb unseen", self._place, epoch))
        if age_s is None:
            return ""
        return f"; written unseen, over what others may have changed in the {age_s} s since AWS had described the rule"

    def raises(self, epoch: int) -> None:
        """The weights of a raise are about to be written."""
        self._of["alb raise", self._place] = epoch

    def raised(self, epoch: int) -> bool:
        """Whether the weights of this raise may have been written without a look at what was there then."""
        return self._of.get(("alb raise", self._place)) == epoch

    def looked(self) -> None:
        """What the last raise met is known."""
        self._of.pop(("alb raise", self._place), None)

    def settles(self, marked: str, which: tuple[int, float], now: float) -> None:
        """A write was answered."""
        self._of["alb settles", marked] = which, now

    def settles_since(self, marked: str, which: tuple[int, float]) -> float:
        """When a write was answered; for a worker that did not write it, when it first saw it."""
        known, since = self._of.get(("alb settles", marked), (None, 0.0))
        if known != which:
            since = time.monotonic()
            self.settles(marked, which, since)
        return float(since)

    @property
    def _writes(self) -> dict[object, tuple[int, float]]:
        found: dict[Any, tuple[int, float]] = self._of.setdefault(("alb writes", self._place), {})
        return found
