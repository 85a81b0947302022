"""Writes that come too late: LaunchDarkly has no "only if nobody was faster", so who was faster is found afterwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.flags.launchdarkly import LaunchDarklyConnection, LaunchDarklyFlag
from activities.flags.launchdarkly.marks import Mark, mark, marked, marks
from activities.flags.launchdarkly.patches import desired
from activities.flags.launchdarkly.shape import parsed
from activities.ports import Write
from activities.shared import Shared
from rollout.errors import Misconfigured, RouteOwned, RouteRejected, RouterUnreachable, Superseded
from rollout.routes import LaunchDarklyRoute
from testbed.flags.launchdarkly import flag
from testbed.flags.launchdarkly.patching import patched
from tests.activities.flags.launchdarkly_stand import NEW, TOKEN, LaunchDarklyStand

OWNER, OTHER = "rollout:prod/checkout", "rollout:prod/other"


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[LaunchDarklyStand]:
    async with LaunchDarklyStand.standing(tmp_path) as standing:
        yield standing


def worker(stand: LaunchDarklyStand, **fields: str) -> LaunchDarklyFlag:
    """The adapter in a worker of its own: it shares nothing with the others, not even the lock."""
    asked: dict[str, Any] = {"key": NEW, "project": "web", "environment": "production", **fields}
    connection = LaunchDarklyConnection(url=stand.server.url, token_file=stand.token_file)
    shared = Shared(stand.shared.http, stand.shared.threads)
    return LaunchDarklyFlag(
        LaunchDarklyRoute(connection="ld", candidate="on", stable="off", **asked), connection, shared
    )


def faster(stand: LaunchDarklyStand, *writes: tuple[int, str, float]) -> None:
    """Before the next patch is carried out, others write: epoch, owner and percent, one write a patch."""
    waiting = list(writes)

    def write() -> None:
        if not waiting:
            return
        epoch, owner, percent = waiting.pop(0)
        held = marks(stand.account.flags["web", NEW]["customProperties"], "production")
        own = mark("production", epoch, owner, released=False, percent=percent, found_off=False)
        stand.patch(stand.share(percent), *marked(held, own, "production"), token=TOKEN)

    stand.server.faults.before_patch = write


async def test_a_write_that_a_newer_one_overtook_gives_way(stand: LaunchDarklyStand) -> None:
    faster(stand, (9, OWNER, 75))
    with pytest.raises(Superseded, match="carries epoch 9"):
        await worker(stand).write(Write(percent=5, epoch=2, owner=OWNER))
    state = await worker(stand).read()
    assert (state.percent, state.epoch, state.owner) == (75, 9, OWNER)
    assert len(marks(stand.account.flags["web", NEW]["customProperties"], "production")) == 1
    assert "gives way" in stand.account.log[0]["comment"]


async def test_of_two_owners_who_begin_at_once_the_first_stays(stand: LaunchDarklyStand) -> None:
    faster(stand, (1, OTHER, 50))
    with pytest.raises(RouteOwned, match=OTHER):
        await worker(stand).write(Write(percent=5, epoch=1, owner=OWNER))
    state = await worker(stand).read()
    assert (state.percent, state.epoch, state.owner) == (50, 1, OTHER)


async def test_an_older_write_of_ours_that_was_faster_is_simply_overwritten(stand: LaunchDarklyStand) -> None:
    faster(stand, (2, OWNER, 75))
    await worker(stand).write(Write(percent=50, epoch=3, owner=OWNER))
    state = await worker(stand).read()
    assert (state.percent, state.epoch, state.owner) == (50, 3, OWNER)
    await worker(stand).write(Write(percent=100, epoch=4, owner=OWNER))
    assert len(marks(stand.account.flags["web", NEW]["customProperties"], "production")) == 1


async def test_whoever_gives_way_gives_way_to_the_newest(stand: LaunchDarklyStand) -> None:
    faster(stand, (8, OWNER, 75), (9, OWNER, 25))
    with pytest.raises(Superseded):
        await worker(stand).write(Write(percent=5, epoch=2, owner=OWNER))
    state = await worker(stand).read()
    assert (state.percent, state.epoch) == (25, 9)


async def test_writes_of_many_workers_at_once_leave_the_newest(stand: LaunchDarklyStand) -> None:
    writes = [Write(percent=epoch, epoch=epoch, owner=OWNER) for epoch in range(1, 13)]
    done = await asyncio.gather(*(worker(stand).write(each) for each in writes), return_exceptions=True)
    assert {type(each) for each in done} <= {type(None), Superseded}
    state = await worker(stand).read()
    assert (state.percent, state.epoch) == (12, 12)


async def test_rollouts_of_many_owners_at_once_leave_one_whole(stand: LaunchDarklyStand) -> None:
    writes = [Write(percent=n, epoch=1, owner=f"{OWNER}-{n}") for n in range(1, 9)]
    done = await asyncio.gather(*(worker(stand).write(each) for each in writes), return_exceptions=True)
    assert {type(each) for each in done} == {type(None), RouteOwned}
    [won] = [each for each, end in zip(writes, done, strict=True) if end is None]
    state = await worker(stand).read()
    assert (state.percent, state.owner) == (won.percent, won.owner)


async def test_an_answer_that_is_lost_is_no_second_write(stand: LaunchDarklyStand) -> None:
    stand.server.faults.slow_after_s, stand.server.faults.methods = 1.2, frozenset({"PATCH"})
    here = stand.made(stand.connection.model_copy(update={"sdk_key_file": None}))
    write = Write(percent=5, epoch=1, owner=OWNER)
    with pytest.raises(RouterUnreachable):
        await here.write(write)
    stand.server.heal()
    before = await stand.written()
    await here.write(write)
    assert await stand.written() == before


async def test_what_a_person_switched_off_in_a_rollout_stays_off(stand: LaunchDarklyStand) -> None:
    await worker(stand).write(Write(percent=25, epoch=1, owner=OWNER))
    await stand.switch(on=False)
    for epoch in (1, 2):
        with pytest.raises(RouteRejected, match="only a person"):
            await worker(stand).write(Write(percent=25 * epoch, epoch=epoch, owner=OWNER))
    await worker(stand).write(Write(percent=0, epoch=3, owner=OWNER, release=True))
    await worker(stand).write(
        Write(percent=5, epoch=4, owner=OTHER)
    )  # another rollout finds it off, and switches it on
    assert (await worker(stand).read()).on


async def test_a_stage_at_zero_does_not_hide_that_the_flag_was_found_off(stand: LaunchDarklyStand) -> None:
    await stand.switch(on=False)
    await worker(stand).write(Write(percent=0, epoch=1, owner=OWNER))
    assert not (await worker(stand).read()).on
    await worker(stand).write(Write(percent=5, epoch=2, owner=OWNER))
    assert (await worker(stand).read()).on
    await worker(stand).write(Write(percent=0, epoch=3, owner=OWNER))
    assert not (await worker(stand).read()).on
    await worker(stand).write(Write(percent=5, epoch=4, owner=OWNER))
    assert (await worker(stand).read()).on


async def test_users_who_are_told_apart_by_something_else_are_not_shuffled(stand: LaunchDarklyStand) -> None:
    await worker(stand).write(Write(percent=5, epoch=1, owner=OWNER))
    other = worker(stand, context_kind="organization")
    with pytest.raises(Misconfigured, match="'user' contexts and the spec says 'organization'"):
        await other.write(Write(percent=25, epoch=2, owner=OWNER))
    await other.write(Write(percent=0, epoch=2, owner=OWNER))
    assert (await worker(stand).read()).percent == 0


async def test_nobody_else_s_share_is_taken(stand: LaunchDarklyStand) -> None:
    shown = stand.account.flags["web", NEW]
    shown["variations"].append({"_id": "third", "value": "test"})
    ids = [each["_id"] for each in shown["variations"]]
    weights = dict(zip(ids, (0, 80_000, 20_000), strict=True))
    stand.patch({"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": weights})
    with pytest.raises(Misconfigured, match=r"other variations have 20 %"):
        await worker(stand).write(Write(percent=81, epoch=1, owner=OWNER))
    await worker(stand).write(Write(percent=80, epoch=1, owner=OWNER))
    assert (await worker(stand).read()).percent == 80


def test_a_mark_is_read_as_it_was_written_and_fits_into_a_custom_property() -> None:
    for environment in ("production", "p" * 100, "a.b-1"):
        for owner in (OWNER, "rollout:" + "x" * 900):
            own = mark(environment, 7, owner, released=False, percent=0.001, found_off=True)
            [written] = marked((), own, environment)
            after = patched({"customProperties": {}, "environments": {}}, None, [written])["customProperties"]
            assert marks(after, environment) == (own,)
            assert marks(after, f"{environment}.7") == ()
            assert (own.owner, own.percent) == (owner, 0.001)


@given(
    percents=st.lists(st.integers(0, 100_000).map(lambda whole: whole / 1000), min_size=1, max_size=6), on=st.booleans()
)
def test_any_ladder_is_written_whole_and_only_once_and_ends_as_it_was_found(percents: list[float], on: bool) -> None:
    route = LaunchDarklyRoute(connection="ld", project="web", environment="production", key=NEW)
    shown = flag("web", NEW, ["production", "staging"], on=on)
    for epoch, percent in enumerate([*percents, 0], start=1):
        write = Write(percent=percent, epoch=epoch, owner=OWNER, release=epoch > len(percents))
        wanted = desired(parsed(shown, route), route, write)
        shown = patched(shown, "production", wanted)
        now = parsed(shown, route)
        assert (now.percent, now.on, sum(now.shares)) == (percent, on or percent > 0, 100_000)
        assert desired(now, route, write) == []
        assert len(marks(shown["customProperties"], "production")) == 1
    assert (
        shown["environments"]["staging"]
        == flag("web", NEW, ["production", "staging"], on=on)["environments"]["staging"]
    )


def test_what_only_looks_like_a_mark_is_none() -> None:
    strange = {"sluice.production.x.00000000": {"name": "n", "value": ["percent=5"]}, "sluice.production": {}}
    strange["sluice.production.1.00000000"] = {"name": "n", "value": ["five"]}
    assert marks(strange, "production") == ()
    assert Mark().owner is None
