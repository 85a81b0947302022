"""What goes wrong around a flag file: missing, broken, edited by others; evaluators that lie, are slow or say no."""

import asyncio
import json
import logging
import os
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from activities.flags.flagd import FlagdConnection
from activities.ports import Write
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable, Throttled
from testbed.flags.ofrep import Fault
from tests.activities.flags.contract import OWNER, WHY, joined, proven
from tests.activities.flags.flagd_stand import KEY, FlagdStand, OfrepStand, in_process, over_ofrep, shared

Json = dict[str, Any]


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[FlagdStand]:
    async with in_process(tmp_path) as running:
        yield running


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[OfrepStand]:
    async with over_ofrep(tmp_path) as running:
        yield running


def write(percent: float, epoch: int = 1, **more: Any) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, **more)


# ── The file ────────────────────────────────────────────────────────────────────────────────────


async def test_a_missing_file_is_told_and_never_made_anew(stand: FlagdStand) -> None:
    stand.path.unlink()
    for asking in (stand.flag().read(), stand.flag().write(write(5)), stand.flag().turn_off(WHY)):
        with pytest.raises(Misconfigured, match=r"flags\.json is missing: .* Put it back, .* not made anew here"):
            await asking
    assert not stand.path.exists()
    assert await joined(stand, 0) == set()  # applications keep what they read last


@pytest.mark.parametrize("content", ["", "{", '{"flags": [', "[]"])
async def test_a_broken_file_is_told_and_left_as_it_is(stand: FlagdStand, content: str) -> None:
    stand.path.write_text(content)
    for asking in (stand.flag().read(), stand.flag().write(write(0)), stand.flag().turn_off(WHY)):
        with pytest.raises(Misconfigured, match=r"flags\.json .*nothing is written"):
            await asking
    assert stand.path.read_text() == content


async def test_an_editor_that_writes_in_place_is_waited_for(stand: FlagdStand) -> None:
    whole = stand.path.read_text()
    stand.path.write_text(whole[:100])
    reading = asyncio.ensure_future(stand.flag().read())
    await asyncio.sleep(0.12)
    stand.path.write_text(whole)
    assert (await reading).in_force == 0


async def test_what_somebody_saves_meanwhile_is_not_overwritten(
    stand: FlagdStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = stand.flag()
    original = flag._file.exchange

    async def after_somebody_else(before: bytes, after: bytes) -> None:
        stand.edit(lambda found: found.update(metadata={"ticket": 1}))
        await original(before, after)

    monkeypatch.setattr(flag._file, "exchange", after_somebody_else)
    with pytest.raises(RouterUnreachable, match="changed by somebody else while it was edited; nothing was written"):
        await flag.write(write(5))
    assert stand.now()["metadata"] == {"ticket": 1}
    await stand.flag().write(write(5))
    assert (await proven(stand, 5)).epoch == 1
    assert stand.now()["metadata"]["ticket"] == 1


async def test_applications_notice_a_write_after_a_file_from_the_future(stand: FlagdStand) -> None:
    ahead = stand.path.stat().st_mtime_ns + 3600 * 10**9
    os.utime(stand.path, ns=(ahead, ahead))
    await asyncio.sleep(0.1)  # until they have looked
    await stand.flag().write(write(100))
    assert stand.path.stat().st_mtime_ns > ahead
    assert len(await joined(stand, 100)) == len(stand.users)


async def test_mode_and_neighbours_stay_and_nothing_is_left_behind(stand: FlagdStand) -> None:
    stand.path.chmod(0o640)
    await stand.flag().write(write(5))
    assert stand.path.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in stand.path.parent.iterdir()) == ["flags.json", "flags.json.lock"]


@pytest.mark.parametrize("key", [KEY, "banner"])
async def test_a_typo_keeps_a_raise_off_but_neither_the_way_back_nor_the_switch(stand: FlagdStand, key: str) -> None:
    await stand.flag().write(write(5))
    stand.edit(lambda flag: flag.update(targeting={"fractional": [["on", 5], ["ghost", 95]]}), key=key)
    before = await stand.written()
    with pytest.raises(Misconfigured, match=r"ghost|none of red, blue"):
        await stand.flag().write(write(25, epoch=2))
    assert await stand.written() == before
    await stand.flag().write(write(0, epoch=3))
    await proven(stand, 0)
    await stand.flag().turn_off(WHY)
    assert not (await proven(stand, 0)).on


async def test_a_typo_somewhere_is_told_before_a_rollout_begins(stand: FlagdStand) -> None:
    stand.edit(lambda flag: flag.update(defaultVariant="rde"), key="banner")
    state = await stand.flag().read()
    assert (state.in_force, state.problem) == (
        0,
        "flags.json: flag banner: \"defaultVariant\" 'rde' is none of red, blue",
    )


async def test_a_file_that_no_evaluator_takes_proves_nothing(stand: FlagdStand) -> None:
    stand.edit(lambda flag: flag.update(state="MAYBE"), key="banner")
    state = await stand.flag().read()
    assert state.in_force is None
    assert "flags.json is not taken by evaluators: Incorrect 'state'" in (state.problem or "")


async def test_a_rule_that_gives_everybody_the_candidate_is_noticed(stand: FlagdStand) -> None:
    stand.edit(lambda flag: flag.update(targeting={"if": [{"==": [1, 1]}, "on", None]}))
    state = await stand.flag().read()
    assert (state.percent, state.in_force) == (0, None)
    assert "flags.json says 0 %, the evaluator gives on 128 of 128 users: a rule catches them" in (state.problem or "")
    with pytest.raises(Misconfigured, match="a rule catches them"):
        await stand.flag().write(write(5))
    await stand.flag().turn_off(WHY)
    await proven(stand, 0)


async def test_a_disabled_flag_is_not_proven_off_and_is_switched_off_so_that_it_can_be(stand: FlagdStand) -> None:
    stand.edit(lambda flag: flag.update(state="DISABLED"))
    state = await stand.flag().read()
    assert (state.on, state.percent, state.in_force) == (False, 0, None)
    assert "default in the application's own code" in (state.problem or "")
    await stand.flag().turn_off(WHY)
    assert not (await proven(stand, 0)).on
    assert stand.now()["targeting"]["if"][0] is False


async def test_a_flag_that_has_no_place_for_a_percent_can_be_seen_and_switched_off(stand: FlagdStand) -> None:
    logic = {"fractional": [["on", 50], ["off", 50]]}
    stand.edit(lambda flag: flag.update(targeting={"or": [logic]}))
    state = await stand.flag().read()
    assert 30 < state.percent < 70
    assert (state.on, state.in_force) == (True, None)
    assert "it has no place for a percent" in (state.problem or "")
    await stand.flag().turn_off(WHY)
    await proven(stand, 0)
    assert stand.now()["targeting"] == {"if": [False, {"or": [logic]}, "off"]}


async def test_users_are_chosen_by_the_field_that_the_spec_names(stand: FlagdStand) -> None:
    flag = stand.made(bucket_by="account")
    await flag.write(write(50))
    assert (await proven(stand, 50, flag)).proof
    assert await stand.served(["ana"]) == {"ana": "off"}  # who has no account is not chosen


async def test_the_reason_is_in_the_log_and_not_in_what_evaluators_hand_out(
    stand: FlagdStand, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "sluice.flags"):
        await stand.flag().turn_off(f"{WHY}\nmore")
        await stand.flag().turn_off(WHY)
    assert [each.message for each in caplog.records if each.name == "sluice.flags"] == [
        f"flag switched off flag=flagd flags-1/flags/new-checkout why={WHY} more"
    ]
    assert WHY not in stand.path.read_text()


# ── The evaluator ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.server
async def test_an_evaluator_that_lies_is_found_out_in_both_directions(asked: OfrepStand) -> None:
    await asked.flag().write(write(100))
    await proven(asked, 100)
    asked.evaluator.fault = Fault(frozen=True)
    await asked.flag().turn_off(WHY)
    state = await asked.flag().read()
    assert (state.on, state.percent, state.in_force) == (False, 0, None)
    assert re.fullmatch(
        r"flags\.json says off \(generation \d+\), evaluator http://127\.0\.0\.1:\d+ still has generation \d+ "
        r"and gives on 16 of 16 users",
        state.problem or "",
    )
    asked.evaluator.fault = Fault()
    assert not (await proven(asked, 0)).on


@pytest.mark.server
async def test_an_evaluator_that_has_lost_its_file_is_found_out_by_the_next_write(asked: OfrepStand) -> None:
    await asked.flag().write(write(5))
    await proven(asked, 5)
    asked.evaluator.fault = Fault(frozen=True)
    await asked.flag().write(write(6, epoch=2))  # as many of the probe keys as before, perhaps
    state = await asked.flag().read()
    assert (state.percent, state.in_force) == (6, None)
    assert "still has generation" in (state.problem or "")


@pytest.mark.server
@pytest.mark.parametrize("fault", [Fault(status=503), Fault(slow_s=5), Fault(status=403)], ids=["503", "slow", "403"])
async def test_the_way_back_and_the_switch_are_written_although_no_evaluator_answers(
    asked: OfrepStand, fault: Fault
) -> None:
    await asked.flag().write(write(50))
    asked.connection = asked.connection.model_copy(update={"timeout_s": 0.3})
    asked.evaluator.fault = fault
    with pytest.raises((RouterUnreachable, NotPermitted)):
        await asked.flag().write(write(75, epoch=2))
    assert asked.now()["metadata"]["sluiceEpoch"] == 1
    await asked.flag().write(write(0, epoch=2))
    await asked.flag().turn_off(WHY)
    asked.connection = asked.connection.model_copy(update={"timeout_s": 10})
    asked.evaluator.fault = Fault()
    state = await proven(asked, 0)
    assert (state.on, state.epoch) == (False, 2)


@pytest.mark.server
async def test_an_evaluator_that_was_asked_too_often_says_when_to_come_again(asked: OfrepStand) -> None:
    asked.evaluator.fault = Fault(status=429)
    with pytest.raises(Throttled) as caught:
        await asked.flag().read()
    assert caught.value.retry_after == timedelta(seconds=2)


@pytest.mark.server
async def test_an_evaluator_that_does_not_know_the_flag_is_told(asked: OfrepStand) -> None:
    asked.evaluator.fault = Fault(frozen=True)  # it has read nothing yet
    state = await asked.flag().read()
    assert state.in_force is None
    assert "gives nothing" in (state.problem or "")
    assert "FLAG_NOT_FOUND" in (state.problem or "")


@pytest.mark.server
@pytest.mark.parametrize("body", ["<html>", "[]", '{"metadata": [1]}', '{"metadata": {"sluiceGeneration": "x"}}'])
async def test_an_answer_that_is_no_ofrep_is_told_without_its_body(tmp_path: Path, body: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body)

    application = web.Application()
    application.router.add_post("/{path:.*}", answer)
    async with shared() as one, TestServer(application) as server:
        stand = FlagdStand(tmp_path, one)
        stand.connection = FlagdConnection(folder=tmp_path, ofrep=str(server.make_url("/")))
        with pytest.raises(RouterUnreachable, match="answers 200 and no OFREP; is `ofrep` its base URL") as caught:
            await stand.flag().read()
    assert body not in str(caught.value)


async def test_nobody_listens_where_the_evaluator_should_be(tmp_path: Path) -> None:
    async with shared() as one:
        stand = FlagdStand(tmp_path, one)
        stand.connection = FlagdConnection(folder=tmp_path, ofrep="http://127.0.0.1:1")
        with pytest.raises(RouterUnreachable, match=r"no answer from http://127\.0\.0\.1:1: ConnectError"):
            await stand.flag().read()


def test_an_address_with_a_password_is_no_address() -> None:
    for url in ("http://ana:secret@flags", "http://flags/?token=secret", "flags"):
        with pytest.raises(ValueError, match="ofrep"):
            FlagdConnection(folder=Path(), ofrep=url)


async def test_marks_that_are_not_ours_count_as_none(stand: FlagdStand) -> None:
    document = json.loads(stand.path.read_bytes())
    document["flags"][KEY]["metadata"] = {"sluiceEpoch": "many", "sluiceGeneration": True, "owner": "team"}
    stand.put(document)
    state = await stand.flag().read()
    assert (state.epoch, state.owner, state.changed_by) == (0, None, None)
    await stand.switch(on=False)
    assert (await stand.flag().read()).off_since_ms is None  # the time of the file is that of any change of any flag


async def test_a_flag_is_locked_only_if_it_could_not_be_switched_off(
    stand: FlagdStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.edit(lambda flag: flag.update(defaultVariant="on", targeting={"fractional": [["on", 0], ["off", 1]]}))
    state = await stand.flag().read()
    assert "gives users without a key on" in (state.problem or "")
    assert state.locked is None
    stand.edit(lambda flag: flag.update(state="MAYBE"), key="banner")
    assert "is not taken by evaluators" in ((await stand.flag().read()).locked or "")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_, **__: False)  # root may write everywhere but on a read-only mount
        assert "mounted read-only" in ((await stand.flag().read()).locked or "")


async def test_when_we_switched_it_off_is_forgotten_once_somebody_may_have_switched_it_on(stand: FlagdStand) -> None:
    await stand.flag().turn_off(WHY)
    since = (await stand.flag().read()).off_since_ms
    assert since
    await stand.flag().write(write(0))
    await stand.flag().write(write(5, epoch=2, release=True))
    assert (await stand.flag().read()).off_since_ms == since
    await stand.switch(on=True)
    await stand.switch(on=False)
    stand.edit(lambda flag: flag.update(description="new"))
    await stand.flag().write(write(0, epoch=3, release=True))
    state = await stand.flag().read()
    assert (state.off_since_ms, state.changed_by) == (None, None)


@pytest.mark.server
async def test_a_way_back_behind_the_switch_is_written_although_no_evaluator_answers(asked: OfrepStand) -> None:
    await asked.flag().write(write(50))
    await asked.flag().turn_off(WHY)
    asked.evaluator.fault = Fault(status=503)
    await asked.flag().write(write(25, epoch=2, release=True))
    asked.evaluator.fault = Fault()
    assert (await proven(asked, 0)).epoch == 2
