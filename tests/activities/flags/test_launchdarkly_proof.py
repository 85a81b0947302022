"""When a percent is believed: what LaunchDarkly's real SDK holds and gives, and every way in which it can be wrong."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.flags.launchdarkly.proof import PROBES, Seen, doubt
from activities.flags.launchdarkly.shape import parsed
from activities.ports import FlagState, Write
from rollout.routes import LaunchDarklyRoute
from testbed.flags.launchdarkly.relay import Relay
from testbed.parts import PartMissing, binary
from tests.activities.flags.contract import joined, proven
from tests.activities.flags.launchdarkly_stand import (
    NEW,
    OTHER_SDK_KEY,
    SDK_KEY,
    SECRETS,
    LaunchDarklyStand,
    account,
)

OWNER = "rollout:prod/checkout"
LEFT_BEHIND = pytest.mark.filterwarnings(  # the SDK, of a connection where its key was refused
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
HALF = Write(percent=50, epoch=1, owner=OWNER)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[LaunchDarklyStand]:
    async with LaunchDarklyStand.standing(tmp_path) as standing:
        yield standing


async def doubted(stand: LaunchDarklyStand) -> str:
    """Why the flag is not in force."""
    state = await stand.flag().read()
    assert state.in_force is None
    return state.problem or ""


@pytest.mark.server
async def test_an_sdk_that_is_told_lies_proves_nothing_until_it_is_told_the_truth(stand: LaunchDarklyStand) -> None:
    await stand.flag().write(HALF)
    await proven(stand, 50)
    stand.server.sdk.freeze()
    await stand.flag().turn_off("it is broken")
    assert (await stand.flag().read()).percent == 0
    assert "the SDK still has version" in await doubted(stand)
    assert "on" in (await stand.served(["ann"])).values()  # off, says LaunchDarkly, and it is still served
    stand.server.heal()
    assert (await proven(stand, 0)).on is False


@pytest.mark.server
async def test_the_proof_names_version_epoch_and_what_was_given(stand: LaunchDarklyStand) -> None:
    await stand.flag().write(HALF)
    state = await proven(stand, 50)
    assert state.proof.startswith("the SDK has version 3, epoch 1 (50 %, held by rollout:prod/checkout)")
    assert "of 200 probe keys" in state.proof


@pytest.mark.server
@LEFT_BEHIND
@pytest.mark.parametrize(("key", "words"), [(OTHER_SDK_KEY, "sdk_key_file"), ("sdk-0-wrong", "sdk_key_file")])
async def test_a_wrong_sdk_key_proves_nothing_and_is_in_no_log(
    stand: LaunchDarklyStand, key: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stand.sdk_key_file.write_text(key, encoding="ascii")
    await stand.flag().write(HALF)
    assert words in await doubted(stand)
    assert not [secret for secret in (*SECRETS, key) if secret in caplog.text]
    assert "Streaming" in caplog.text  # the SDK did log


@pytest.mark.server
@LEFT_BEHIND
async def test_a_key_that_was_changed_is_used_from_the_next_look_on(stand: LaunchDarklyStand) -> None:
    stand.sdk_key_file.write_text("", encoding="ascii")
    assert "holds no SDK key" in await doubted(stand)
    stand.sdk_key_file.write_text("sdk-0-wrong", encoding="ascii")
    assert "its stream is" in await doubted(stand)
    stand.sdk_key_file.write_text(SDK_KEY, encoding="ascii")
    await proven(stand, 0)


@pytest.mark.server
async def test_many_who_look_at_once_start_one_sdk(stand: LaunchDarklyStand) -> None:
    patient = stand.connection.model_copy(update={"timeout_s": 5})
    looks = [asyncio.ensure_future(stand.made(patient).read()) for _ in range(8)]
    await asyncio.sleep(0.01)
    looks[0].cancel()
    states = await asyncio.gather(*looks, return_exceptions=True)
    assert len([each for each in states if isinstance(each, FlagState) and each.in_force == 0]) == 7, states
    assert len(stand.server.sdk._streams) == 1


@pytest.mark.server
async def test_the_proof_comes_back_by_itself_after_the_service_was_away(stand: LaunchDarklyStand) -> None:
    await stand.flag().write(HALF)
    await proven(stand, 50)
    await stand.server.down()
    await stand.server.up()
    await stand.flag().write(Write(percent=75, epoch=2, owner=OWNER))
    await proven(stand, 75)


@pytest.mark.server
async def test_rules_and_targets_are_left_aside_and_if_they_catch_all_nothing_is_proven(
    stand: LaunchDarklyStand,
) -> None:
    on = stand.account.flags["web", NEW]["variations"][0]["_id"]
    stand.patch({"kind": "addTargets", "values": list(PROBES[:50]), "variationId": on})
    await stand.flag().write(Write(percent=0, epoch=1, owner=OWNER))
    assert "50 of 200 probe keys" in (await proven(stand, 0)).proof
    stand.patch({"kind": "addTargets", "values": list(PROBES), "variationId": on})
    assert "rules or targets catch every probe key" in await doubted(stand)


@pytest.mark.server
async def test_a_prerequisite_that_is_not_met_gives_nobody_the_candidate(stand: LaunchDarklyStand) -> None:
    needs = [{"key": "new-search", "variation": 0}]
    stand.account.flags["web", NEW]["environments"]["production"]["prerequisites"] = needs
    await stand.flag().write(HALF)
    assert "a prerequisite flag is not met" in await doubted(stand)
    await stand.flag().write(Write(percent=0, epoch=2, owner=OWNER))
    await proven(stand, 0)


@pytest.mark.server
async def test_the_real_relay_in_between_gives_the_same_proof(
    stand: LaunchDarklyStand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        binary("ld-relay")
    except PartMissing:
        pytest.skip("no ld-relay here: python3 tools/setup.py --only ldrelay")
    relay = Relay(tmp_path, upstream=stand.server.url, sdk_key=SDK_KEY)
    monkeypatch.setattr(type(stand), "sdk_url", relay.url)
    await asyncio.to_thread(relay.start)
    try:
        for epoch, percent in enumerate((5, 50, 100), start=1):
            await stand.flag().write(Write(percent=percent, epoch=epoch, owner=OWNER))
            assert "of 200 probe keys" in (await proven(stand, percent)).proof
            await joined(stand, percent)
        await stand.flag().turn_off("")
        await proven(stand, 0)
        assert await joined(stand, 0) == set()
        assert SDK_KEY not in relay.log.read_text(encoding="utf-8")
    finally:
        await asyncio.to_thread(relay.stop)


def seen(candidates: int, reason: str = "FALLTHROUGH", **changed: object) -> Seen:
    """An SDK that has what is written: half and half of version 7."""
    given = ((reason, 0),) * candidates + ((reason, 1),) * (len(PROBES) - candidates)
    return Seen(7, True, 1, (50_000, 50_000), given)._replace(**changed)  # type: ignore[arg-type]  # a test's own


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (seen(100), None),
        (seen(100, version=8), None),
        (seen(100, version=6), "still has version 6, LaunchDarkly has 7"),
        (seen(100, on=False), "is not what is written"),
        (seen(100, off=0), "is not what is written"),
        (seen(100, shares=(49_999, 50_001)), "is not what is written"),
        (seen(100, shares=(0, 100_000)), "is not what is written"),
        (seen(40), "at 50 % that cannot be"),
        (seen(160), "at 50 % that cannot be"),
        (seen(100, "ERROR"), "cannot evaluate the flag"),
        (seen(100, "OFF"), "another reason than it should: OFF"),
    ],
)
def test_everything_must_agree(found: Seen, words: str | None) -> None:
    route = LaunchDarklyRoute(connection="ld", project="web", environment="production", key=NEW)
    shown = account().flags["web", NEW]
    rollout = {"variations": [{"variation": 0, "weight": 50_000}, {"variation": 1, "weight": 50_000}]}
    shown["environments"]["production"] |= {"version": 7, "fallthrough": {"rollout": rollout}}
    reason = doubt(parsed(shown, route), found)
    assert (reason is None) == (words is None)
    assert (words or "") in (reason or "")
