"""The processes that are scraped: how far each has told its story, and until when the story of all is complete.

A pod is a side with `namespace`, `pod`, `job`, `instance`, so that a proxy that counts for both versions is two. What
a pod told is complete where its trials are, and its events, unless these lag more than 1.5 scrapes behind: then they
were not cut off between two queries, but its error series went with a restart.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rollout.judge.scrapes import Kind, Side

SILENT = 3
"""Scrapes after which a pod is not waited for."""


class Pod(NamedTuple):
    """One process of one side. Times are Unix milliseconds, 0 for never.

    Attributes:
        side: whose it is.
        trial_ms: its last scrape of trials that is folded in.
        event_ms: the same of events.
        alive_ms: since when it is waited for: its last scrape, or the end of a gap in which nobody reported.
        step_ms: usual distance of its scrapes, milliseconds; 0 before the second.
        values: digest of a series → what is kept of its last sample.
    """

    side: Side
    trial_ms: int
    event_ms: int
    alive_ms: int
    step_ms: int
    values: dict[str, tuple[int, ...]]

    @property
    def last_ms(self) -> int:
        """Its last report; of events where it has no trials (they may be counted elsewhere)."""
        return self.trial_ms or self.event_ms

    def reported(self, at: int, kinds: set[Kind]) -> "Pod":
        """After a scrape. The usual distance follows slowly, by an eighth, so that no single odd one matters."""
        trial_ms, event_ms = at if kinds != {"events"} else self.trial_ms, at if "events" in kinds else self.event_ms
        after = self._replace(trial_ms=trial_ms, event_ms=event_ms)
        passed = after.last_ms - self.last_ms
        if not passed:
            return after
        step = self.step_ms
        if step:
            step = min(max(passed, step - step // 8), step + step // 8)
        elif self.last_ms:
            step = passed
        return after._replace(alive_ms=at, step_ms=step)


def told_until(told: Iterable[Sequence[int]], scrape_ms: int) -> int:
    """Until when every live pod has told everything, Unix milliseconds; 0 without pods.

    Args:
        told: each pod's newest trials and newest events that are known, Unix milliseconds, 0 for none.
        scrape_ms: scrape interval, milliseconds.
    """
    until = []
    for trial, event in told:
        straddled = trial and event and 2 * (trial - event) <= 3 * scrape_ms
        until.append(min(trial, event) if straddled else trial or event)
    oldest = max(until, default=0) - SILENT * scrape_ms
    return min([each for each in until if each >= oldest], default=0)
