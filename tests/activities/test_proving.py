"""The loop behind every proof: it looks when looking can help, and tells why nothing was proven."""

import asyncio
import time
from datetime import timedelta

import pytest

from activities.ports import RouteState
from activities.proving import MOST_BETWEEN_LOOKS_SECONDS, proven
from rollout.errors import NotProven, RouterUnreachable, Superseded

THERE = RouteState(percent=5, in_force=5, epoch=7)
ON_ITS_WAY = RouteState(percent=5, in_force=None, epoch=7, proves_after_s=30, problem="changed just now")


class Clock:
    """Time passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    monkeypatch.setattr(asyncio, "sleep", made.sleep)
    return made


class Shown:
    """What is seen, one answer a look; the last one stays."""

    def __init__(self, *answers: RouteState | Exception) -> None:
        self.answers, self.looks = list(answers), 0

    async def __call__(self) -> RouteState:
        self.looks += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def missing(state: RouteState) -> str | None:
    return None if state.in_force == 5 else state.problem or "it is not there"


async def test_it_looks_again_until_nothing_is_missing_and_unreachable_is_no_end(clock: Clock) -> None:
    shown = Shown(RouterUnreachable("no answer"), RouteState(percent=5, in_force=0), THERE)
    assert await proven(shown, missing, "5 %", timedelta(seconds=10)) == THERE
    assert shown.looks == 3


async def test_nothing_is_looked_at_before_it_can_be_proven(clock: Clock) -> None:
    shown = Shown(THERE)
    await proven(shown, missing, "5 %", timedelta(seconds=10), not_before_s=2)
    assert (clock.slept, shown.looks) == ([2.0], 1)


async def test_what_could_be_proven_too_late_only_is_looked_at_once_in_time(clock: Clock) -> None:
    shown = Shown(ON_ITS_WAY)
    with pytest.raises(NotProven, match=r"^5 % is not in force after 10 s: changed just now$"):
        await proven(shown, missing, "5 % is not in force", timedelta(seconds=10), not_before_s=60)
    assert (clock.now, shown.looks) == (1010.0, 1)


async def test_where_a_proof_takes_long_it_looks_seldom(clock: Clock) -> None:
    shown = Shown(ON_ITS_WAY)
    with pytest.raises(NotProven):
        await proven(shown, missing, "5 %", timedelta(seconds=10))
    assert clock.slept[1:] == [MOST_BETWEEN_LOOKS_SECONDS] * 5


async def test_what_ends_the_looking_ends_it_at_once(clock: Clock) -> None:
    def superseded(_: RouteState) -> str | None:
        raise Superseded("it carries epoch 8")

    with pytest.raises(Superseded):
        await proven(Shown(THERE), superseded, "5 %", timedelta(seconds=10))
    assert clock.slept == [0]
