"""One answer for many who ask the same, and none that is older than a question."""

import asyncio
from collections.abc import Awaitable

import pytest

from activities.kubernetes.joining import PATIENCE_S, Joining


class Api:
    """Answers, when told to, with what was there when the request was sent."""

    def __init__(self) -> None:
        self.value = 0
        self.sent = 0
        self.free = asyncio.Event()
        self.joining = Joining()

    def ask(self, key: str = "list") -> Awaitable[int]:
        return asyncio.ensure_future(self.joining.ask(key, self._send))

    async def _send(self) -> int:
        self.sent += 1
        seen = self.value
        await self.free.wait()
        return seen


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_asks_before_it_is_sent_shares_it() -> None:
    api = Api()
    api.free.set()
    assert await asyncio.gather(*(api.ask() for _ in range(10))) == [0] * 10
    assert api.sent == 1


async def test_who_asks_while_one_is_under_way_is_not_told_what_that_one_saw() -> None:
    api = Api()
    first = api.ask()
    await turns()
    api.value = 1  # written after the first was sent
    others = [api.ask() for _ in range(10)]
    await turns()
    assert api.sent == 1
    api.free.set()
    assert (await first, await asyncio.gather(*others)) == (0, [1] * 10)
    assert api.sent == 2


async def test_other_questions_are_not_waited_for() -> None:
    api = Api()
    asked = [api.ask(key) for key in ("list", "get")]
    await turns()
    assert api.sent == 2
    api.free.set()
    await asyncio.gather(*asked)


async def test_one_that_hangs_is_not_waited_for_long() -> None:
    api = Api()
    hung = api.ask()
    await turns()
    other = api.ask()
    await asyncio.sleep(2 * PATIENCE_S)
    assert api.sent == 2
    api.free.set()
    assert [await hung, await other] == [0, 0]


async def test_a_failure_is_told_to_each_and_forgotten() -> None:
    joining = Joining()

    async def fail() -> int:
        raise RuntimeError("away")

    async def work() -> int:
        return 7

    ends = await asyncio.gather(*(joining.ask("list", fail) for _ in range(3)), return_exceptions=True)
    assert [str(end) for end in ends] == ["away"] * 3
    assert await joining.ask("list", work) == 7


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    api = Api()
    hasty, patient = asyncio.ensure_future(api.ask()), asyncio.ensure_future(api.ask())
    await turns()
    hasty.cancel()
    api.free.set()
    with pytest.raises(asyncio.CancelledError):
        await hasty
    assert await patient == 0


async def test_nothing_is_kept() -> None:
    api = Api()
    api.free.set()
    await api.ask()
    await turns()
    assert not api.joining._sent
    assert not api.joining._waiting
