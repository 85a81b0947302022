"""What is asked of LaunchDarkly, to the letter (golden requests), and what its refusals become."""

import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from activities.flags.launchdarkly import LaunchDarklyConnection, LaunchDarklyFlag
from activities.flags.launchdarkly.answers import throttled
from activities.ports import Write
from rollout.errors import (
    Misconfigured,
    NotPermitted,
    RouteRejected,
    RouterUnreachable,
    SluiceError,
    Throttled,
)
from testbed.flags.launchdarkly import Caller
from testbed.flags.launchdarkly.faults import CODES
from tests.activities.flags.launchdarkly_stand import NEW, PLACE, SECRETS, TOKEN, LaunchDarklyStand

OWNER = "rollout:prod/checkout"
GOLDEN = {file.stem: json.loads(file.read_bytes()) for file in Path(__file__).with_name("launchdarkly").glob("*.json")}
RAISE = Write(percent=5, epoch=2, owner=OWNER)
BACK = Write(percent=0, epoch=9, owner=OWNER, header=False, release=True)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[LaunchDarklyStand]:
    async with LaunchDarklyStand.standing(tmp_path) as standing:
        yield standing


def unproven(stand: LaunchDarklyStand) -> LaunchDarklyConnection:
    """A connection without an SDK key: nothing is evaluated."""
    return stand.connection.model_copy(update={"sdk_key_file": None})


def plain(stand: LaunchDarklyStand, **fields: Any) -> LaunchDarklyFlag:
    return stand.made(unproven(stand), **fields)


def configured(stand: LaunchDarklyStand, **fields: Any) -> None:
    """Somebody has set up the flag in production so."""
    stand.account.flags["web", NEW]["environments"]["production"].update(fields)


def sent(stand: LaunchDarklyStand, method: str = "PATCH") -> list[dict[str, Any]]:
    return [each for each in stand.server.rest.asked if each["method"] == method]


@pytest.mark.parametrize("name", sorted(GOLDEN))
async def test_the_requests_are_what_the_golden_file_says(stand: LaunchDarklyStand, name: str) -> None:
    golden = GOLDEN[name]
    configured(stand, **golden["production"])
    stand.account.flags["web", NEW].update(golden.get("flag", {}))
    flag = plain(stand, **golden.get("route", {}))
    if "turn_off" in golden:
        await flag.turn_off(golden["turn_off"])
    else:
        await flag.write(Write(**golden["write"]))
    assert sent(stand) == golden["sends"]


def test_there_are_golden_requests() -> None:
    assert len(GOLDEN) >= 8


ROWS: list[tuple[int, type[SluiceError], str]] = [
    (400, RouteRejected, "nothing was written"),
    (401, NotPermitted, "does not accept the token"),
    (403, NotPermitted, "updateFlagCustomProperties"),
    (404, Misconfigured, "no such flag or project"),
    (405, NotPermitted, "requires an approval"),
    (409, RouterUnreachable, "4 tries"),
    (422, RouteRejected, "nothing was written"),
    (429, Throttled, "rate limit"),
    (500, RouterUnreachable, "status 500"),
    (503, RouterUnreachable, "status 503"),
]


@pytest.mark.parametrize(("status", "error", "words"), ROWS, ids=[str(status) for status, _, _ in ROWS])
async def test_every_refusal_has_its_name_and_says_what_to_do(
    stand: LaunchDarklyStand, status: int, error: type[SluiceError], words: str
) -> None:
    before = stand.account.patches
    stand.server.faults.status, stand.server.faults.methods = status, frozenset({"PATCH"})
    with pytest.raises(error, match=words) as caught:
        await plain(stand).write(RAISE)
    assert type(caught.value) is error
    assert "launchdarkly ld/web/production/new-checkout" in str(caught.value)
    assert stand.account.patches == before


@pytest.mark.parametrize("status", sorted({*CODES, 500}))
async def test_a_token_that_an_answer_repeats_is_not_repeated_by_us(stand: LaunchDarklyStand, status: int) -> None:
    stand.server.faults.status = status
    stand.server.faults.says = f"you sent {' and '.join(SECRETS)}"
    with pytest.raises(SluiceError) as caught:
        await plain(stand).read()
    assert not [secret for secret in SECRETS if secret in str(caught.value)]


@pytest.mark.parametrize("limit", ["global", "route", "ip"])
async def test_a_limit_is_waited_for_as_its_headers_say_and_nobody_asks_before(
    stand: LaunchDarklyStand, limit: Any
) -> None:
    faults = stand.server.faults
    faults.status, faults.limit, faults.window_s = 429, limit, 4
    with pytest.raises(Throttled) as caught:
        await plain(stand).read()
    assert caught.value.retry_after is not None
    assert timedelta(seconds=2) < caught.value.retry_after <= timedelta(seconds=4)
    stand.server.heal()
    with pytest.raises(Throttled, match="asked again in"):
        await plain(stand).turn_off("")
    assert stand.server.rest.asked == []


@pytest.mark.parametrize(("window_s", "least", "most"), [(1e6, 60, 60), (-5, 0.1, 0.1)])
async def test_a_limit_of_odd_length_is_bounded(
    stand: LaunchDarklyStand, window_s: float, least: float, most: float
) -> None:
    stand.server.faults.status, stand.server.faults.window_s = 429, window_s
    with pytest.raises(Throttled) as caught:
        await plain(stand).read()
    assert caught.value.retry_after is not None
    assert least <= caught.value.retry_after.total_seconds() <= most


def test_a_clock_of_ours_that_is_wrong_does_not_count() -> None:
    ahead_s = time.time() + 3600
    headers = {"X-Ratelimit-Reset": str(round((ahead_s + 7) * 1000)), "Date": formatdate(ahead_s, usegmt=True)}
    assert 6.9 <= throttled(headers, "here").retry_after.total_seconds() <= 8


async def test_a_short_limit_is_waited_for(stand: LaunchDarklyStand) -> None:
    stand.server.faults.status, stand.server.faults.limit, stand.server.faults.window_s = 429, "ip", 0.2
    with pytest.raises(Throttled):
        await plain(stand).read()
    stand.server.heal()
    began = time.monotonic()
    await plain(stand).read()
    assert time.monotonic() - began > 0.1


@pytest.mark.parametrize("times", [1, 3])
async def test_a_conflict_is_tried_again_after_another_look(stand: LaunchDarklyStand, times: int) -> None:
    stand.server.faults.status, stand.server.faults.methods = 409, frozenset({"PATCH"})
    stand.server.faults.times = times
    await plain(stand).write(RAISE)
    assert (await plain(stand).read()).percent == 5
    stand.server.faults.times = times
    await plain(stand).turn_off("")
    assert len(sent(stand)) == 2  # those that conflicted were never looked at


async def test_a_conflict_that_lasts_leaves_the_switch_as_it_is_and_says_so(stand: LaunchDarklyStand) -> None:
    stand.server.faults.status, stand.server.faults.methods = 409, frozenset({"PATCH"})
    with pytest.raises(RouteRejected, match="4 tries, nothing was written"):
        await plain(stand).turn_off("")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("measuredRollout", "a guarded rollout of LaunchDarkly's own"),
        ("progressiveRollout", "a progressive rollout of LaunchDarkly's own"),
        ("experiment", "an experiment"),
        ("something new", "an experiment or a release"),
    ],
)
async def test_what_moves_the_default_rule_by_itself_is_never_touched_but_off_works(
    stand: LaunchDarklyStand, kind: str, words: str
) -> None:
    stand.account.release("web", NEW, "production", kind, (10_000, 90_000))
    state = await plain(stand).read()
    assert (state.percent, state.in_force) == (10, None)
    assert (state.problem or "").startswith(f"refused: {words} moves the default rule")
    assert state.locked is None
    for write in (RAISE, BACK):
        with pytest.raises(Misconfigured, match=f"refused: {words}"):
            await plain(stand).write(write)
    assert [each["path"] for each in sent(stand)] == ["/api/v2/flags/web/new-checkout?dryRun=true"]
    assert await plain(stand).turn_off("")
    state = await plain(stand).read()
    assert (state.percent, state.in_force, state.locked) == (0, 0, None)
    assert (state.problem or "").startswith(f"refused: {words}")  # for a rollout that would begin


async def test_a_flag_without_an_off_variation_cannot_be_switched_off_or_proven_off(stand: LaunchDarklyStand) -> None:
    stand.patch({"kind": "updateOffVariation", "variationId": None})
    with pytest.raises(Misconfigured, match=r"no off variation.*code has as default; set stable's"):
        await plain(stand).turn_off("")
    await stand.switch(on=False)
    with pytest.raises(Misconfigured, match="no off variation"):
        await plain(stand).turn_off("")
    state = await plain(stand).read()
    assert (state.percent, state.in_force, state.on) == (0, None, False)
    assert "no off variation" in (state.problem or "")


async def test_off_that_serves_the_candidate_is_a_hundred_percent_and_never_the_way_back(
    stand: LaunchDarklyStand,
) -> None:
    await stand.switch(on=False)
    await plain(stand).write(RAISE)
    await stand.mislead()
    await plain(stand).write(BACK)
    assert (await plain(stand).read()).on  # at 0 %, because off would be 100 %
    await stand.switch(on=False)
    state = await plain(stand).read()
    assert (state.percent, state.in_force) == (100, None)


async def test_an_environment_with_approvals_is_locked_and_that_is_asked_only_now_and_then(
    stand: LaunchDarklyStand,
) -> None:
    assert (await plain(stand).read()).locked is None
    assert "dryRun=true" in sent(stand)[-1]["path"]
    stand.account.approvals.add(PLACE)
    await plain(stand).read()
    assert len(sent(stand)) == 1  # believed for a while
    stand.account.approvals.clear()
    await plain(stand).write(RAISE)
    stand.account.approvals.add(PLACE)
    assert (await plain(stand).read()).locked is None  # held: its writes say so
    stand.account.approvals.clear()
    await plain(stand).write(BACK)
    stand.account.approvals.add(PLACE)
    assert "requires an approval" in ((await plain(stand).read()).locked or "")


async def test_planned_changes_stop_a_raise_but_neither_off_nor_the_way_back(stand: LaunchDarklyStand) -> None:
    kinds = frozenset({"updateFallthroughVariationOrRollout", "turnFlagOff"})
    await plain(stand).write(RAISE)
    stand.account.pending["web", NEW, "production"] = kinds
    with pytest.raises(RouteRejected, match="pending scheduled change"):
        await plain(stand).write(Write(percent=25, epoch=3, owner=OWNER))
    await plain(stand).write(BACK)
    assert (await plain(stand).read()).percent == 0
    await plain(stand).turn_off("")
    assert not (await plain(stand).read()).on


@pytest.mark.parametrize("percent", [-1, 100.001, 0.0005, 33.33333])
async def test_a_percent_without_a_whole_weight_is_refused(stand: LaunchDarklyStand, percent: float) -> None:
    with pytest.raises(Misconfigured, match=r"steps of 0\.001"):
        await plain(stand).write(Write(percent=percent, epoch=1, owner=OWNER))


async def test_who_wrote_last_is_told_by_address_and_never_with_the_end_of_a_token(stand: LaunchDarklyStand) -> None:
    await stand.drift(40)
    state = await plain(stand).read()
    assert state.changed_by == "ann.lee@example.com"
    await plain(stand).write(Write(percent=5, epoch=1, owner=OWNER))
    state = await plain(stand).read()
    assert state.changed_by == "sluice"
    asked = len([each for each in sent(stand, "GET") if "auditlog" in each["path"]])
    await plain(stand).read()
    assert len([each for each in sent(stand, "GET") if "auditlog" in each["path"]]) == asked == 2


async def test_a_log_that_may_not_be_read_or_lags_behind_is_no_trouble(stand: LaunchDarklyStand) -> None:
    modified_ms = stand.account.flags["web", NEW]["environments"]["production"]["lastModified"]
    configured(stand, lastModified=modified_ms + 30_000)
    assert (await plain(stand).read()).changed_by is None  # and is asked again, when it may have caught up
    configured(stand, lastModified=modified_ms)
    assert (await plain(stand).read()).changed_by == "ann.lee@example.com"
    stand.account.tokens[TOKEN] = Caller("sluice", sees_log=False)
    await stand.drift(40)
    state = await plain(stand).read()
    assert (state.percent, state.changed_by) == (40, None)


async def test_marks_of_two_environments_do_not_meet(stand: LaunchDarklyStand) -> None:
    await plain(stand).write(Write(percent=5, epoch=7, owner=OWNER))
    await plain(stand, environment="staging").write(Write(percent=50, epoch=1, owner="rollout:staging/checkout"))
    here, there = await plain(stand).read(), await plain(stand, environment="staging").read()
    assert (here.percent, here.epoch, here.owner) == (5, 7, OWNER)
    assert (there.percent, there.epoch, there.owner) == (50, 1, "rollout:staging/checkout")


async def test_an_environment_that_the_project_does_not_have_is_misconfigured(stand: LaunchDarklyStand) -> None:
    with pytest.raises(Misconfigured, match="no environment moon"):
        await plain(stand, environment="moon").read()


async def test_without_an_sdk_key_the_proof_says_that_nothing_was_evaluated(stand: LaunchDarklyStand) -> None:
    await plain(stand).write(RAISE)
    stand.server.sdk.freeze()
    state = await plain(stand).read()
    assert state.in_force == 5
    assert state.proof.startswith("read back, not evaluated (set sdk_key_file): LaunchDarkly shows version ")
    assert "epoch 2" in state.proof
