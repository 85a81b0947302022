"""A write that has begun ends, whoever gives up waiting for it."""

import asyncio

import pytest

from activities.finishing import all_finished, finished


async def test_a_write_goes_on_when_its_caller_is_cancelled_and_is_waited_for() -> None:
    may_end, ended = asyncio.Event(), []

    async def write() -> None:
        await may_end.wait()
        ended.append(True)

    caller = asyncio.create_task(finished(write()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await all_finished(0.01) == 1
    may_end.set()
    assert await all_finished(5) == 0
    assert ended == [True]


async def test_what_a_write_raises_and_answers_is_the_callers() -> None:
    async def answers() -> int:
        return 7

    async def fails() -> None:
        raise ValueError("no")

    assert await finished(answers()) == 7
    with pytest.raises(ValueError, match="no"):
        await finished(fails())
    assert await all_finished(1) == 0
