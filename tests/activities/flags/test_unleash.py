"""What the real Unleash does that no contract knows, and what becomes of it."""

from typing import Any

import pytest

from activities.flags.unleash import UnleashConnection, UnleashFlag
from activities.flags.unleash.api import UnleashApi
from activities.ports import Write
from activities.secret_file import secret
from rollout.errors import Misconfigured, NotPermitted, RouteRejected, RouterUnreachable, Throttled
from rollout.routes.flags import UnleashRoute
from testbed.flags.gate import Fault
from testbed.flags.unleash import ENVIRONMENT, PROJECT
from tests.activities.flags.contract import OWNER, WHY, joined, proven, until
from tests.activities.flags.unleash_stand import UnleashStand

pytestmark = pytest.mark.server

FIVE = Write(percent=5, epoch=1, owner=OWNER)


@pytest.fixture
def stand(unleash_stand: UnleashStand) -> UnleashStand:
    return unleash_stand


def connected(stand: UnleashStand, **fields: Any) -> UnleashFlag:
    route = UnleashRoute(connection="flags", key=stand.key, environment=ENVIRONMENT)
    return UnleashFlag(route, stand.connection.model_copy(update=fields), stand.shared)


def feature(stand: UnleashStand) -> str:
    return f"/projects/{PROJECT}/features/{stand.key}"


async def test_the_mark_stands_where_people_see_it(stand: UnleashStand) -> None:
    await stand.flag().write(Write(percent=5, epoch=3, owner=OWNER))
    place = f"default/development/{stand.key}"
    assert stand.strategy()["title"] == f"Slowly [Sluice {place}: epoch 3, held by {OWNER}]"
    state = await proven(stand, 5)
    assert state.proof.startswith("applications are given 5 % of those whom its constraints let through, written with ")
    assert state.settles_after_s == 2
    long = f"rollout:{'x' * 900}/checkout"
    await stand.flag().write(Write(percent=5, epoch=4, owner=OWNER, release=True))
    await stand.flag().write(Write(percent=5, epoch=5, owner=long))
    assert (await stand.flag().read()).owner == long


async def test_the_typos_that_unleash_accepts_are_told_and_put_right_by_the_next_write(stand: UnleashStand) -> None:
    await stand.flag().write(FIVE)
    for epoch, typo in enumerate(("150", "-1", "abc"), start=2):
        stand.hand(rollout=typo)
        state = await stand.flag().read()
        assert (state.percent, state.in_force, state.epoch) == (0, None, epoch - 1)
        assert f"rollout is '{typo}' there, no whole percent" in (state.problem or "")
        await stand.flag().write(Write(percent=5, epoch=epoch, owner=OWNER))
        assert stand.strategy()["parameters"]["rollout"] == "5"
    await proven(stand, 5)


async def test_a_second_strategy_is_refused_until_it_is_gone(stand: UnleashStand) -> None:
    await stand.flag().write(Write(percent=50, epoch=1, owner=OWNER))
    strategies = f"{stand.server.place(stand.key)}/strategies"
    added = stand.server.ask("POST", strategies, {"name": "default", "title": "Everybody"})["id"]
    state = await stand.flag().read()
    assert state.in_force is None
    assert "2 enabled strategies, which add up" in (state.problem or "")
    with pytest.raises(Misconfigured, match=r"which add up \(.*Everybody\)"):
        await stand.flag().write(Write(percent=75, epoch=2, owner=OWNER))
    await stand.flag().write(Write(percent=0, epoch=2, owner=OWNER, release=True))  # as far as it goes
    assert (await stand.flag().read()).in_force is None
    stand.server.ask("DELETE", f"{strategies}/{added}")
    await proven(stand, 0)


async def test_an_archived_flag_is_left_alone_although_unleash_would_take_the_change(stand: UnleashStand) -> None:
    await stand.flag().write(FIVE)
    stand.server.ask("DELETE", feature(stand))
    before = await stand.written()
    for asking in (stand.flag().read, lambda: stand.flag().write(Write(percent=25, epoch=2, owner=OWNER))):
        with pytest.raises(Misconfigured, match=rf"has no flag {stand.key}, or it is archived"):
            await asking()
    with pytest.raises(Misconfigured, match="archived"):
        await stand.flag().turn_off(WHY)
    assert await stand.written() == before


async def test_a_change_at_the_same_moment_is_noticed_and_nothing_is_written(stand: UnleashStand) -> None:
    await stand.flag().write(FIVE)
    flag = stand.flag()
    look = flag._found

    async def looks_too_early() -> Any:
        now = await look()
        stand.hand(rollout="40")
        return now

    flag._found = looks_too_early  # type: ignore[method-assign]  # somebody is quicker
    with pytest.raises(RouterUnreachable, match="changed the strategy at the same moment; nothing was written"):
        await flag.write(Write(percent=25, epoch=2, owner=OWNER))
    assert stand.strategy()["parameters"]["rollout"] == "40"
    await stand.flag().write(Write(percent=25, epoch=2, owner=OWNER))
    assert (await proven(stand, 25)).epoch == 2


async def test_a_project_that_wants_change_requests_says_so(stand: UnleashStand) -> None:
    await stand.flag().write(FIVE)
    # What Enterprise writes when it is asked to; the free server heeds it too.
    settings = "change_request_settings (project, environment, required_approvals)"
    stand.server.database.run(f"INSERT INTO {settings} VALUES ('default', 'development', 1)")  # noqa: S608 - constants
    try:
        with pytest.raises(NotPermitted, match="must be approved there by a change request"):
            await stand.flag().write(Write(percent=25, epoch=2, owner=OWNER))
        with pytest.raises(NotPermitted, match="must be approved there by a change request"):
            await stand.flag().turn_off(WHY)
    finally:
        stand.server.database.run("DELETE FROM change_request_settings")
    assert (await proven(stand, 5)).epoch == 1


async def test_what_could_not_be_changed_is_told_before_anybody_tries(stand: UnleashStand) -> None:
    assert (await proven(stand, 0)).locked is None
    asked = b'[{"environment":"development","changeRequestEnabled":true,"requiredApprovals":1}]'
    enterprise = Fault("answer", status=200, body=asked, when=lambda _, path: "change-requests" in path)
    with stand.gate.fault(enterprise):
        locked = (await connected(stand, refresh_s=3).read()).locked
    assert "must be approved by a change request" in (locked or "")
    stand.token_file.write_text(stand.server.person(f"viewer-{stand.key}", "Viewer").secret)
    state = await connected(stand, refresh_s=4).read()
    assert "lacks the permission UPDATE_FEATURE_STRATEGY" in (state.locked or "")
    with pytest.raises(NotPermitted, match="lacks the permission UPDATE_FEATURE_STRATEGY"):
        await stand.flag().write(FIVE)


async def test_nothing_is_proven_without_what_applications_are_given(stand: UnleashStand) -> None:
    state = await connected(stand, client_token_file=None).read()
    assert (state.percent, state.in_force) == (0, None)
    assert "no client_token_file in the connection" in (state.problem or "")
    assert state.locked == state.problem  # it could be switched off, but no mitigation would ever be proven
    stand.client_token_file.write_text(stand.server.client_token("production").secret)
    state = await stand.flag().read()
    assert state.in_force is None
    assert "the client token is one of environment production, not development" in (state.problem or "")
    stand.client_token_file.write_text(stand.house.us.secret)
    state = await stand.flag().read()
    assert state.in_force is None
    assert "/api/client/features is not allowed" in (state.problem or "")


async def test_a_flag_that_depends_on_one_that_is_off_is_given_to_nobody_and_said_so(stand: UnleashStand) -> None:
    stand.server.ask("POST", f"{feature(stand)}/dependencies", {"feature": stand.other, "enabled": True})
    await stand.flag().write(Write(percent=50, epoch=1, owner=OWNER))
    await stand.other_flag().write(Write(percent=100, epoch=1, owner=OWNER))
    await proven(stand, 50)
    await stand.other_flag().turn_off(WHY)
    await proven(stand, 0, stand.other_flag())
    state = await stand.flag().read()
    assert state.in_force is None
    assert "0 of 200 invented users would be given it, which is not 50 %" in (state.problem or "")


async def test_a_server_that_is_killed_is_unreachable_and_comes_back_as_it_was(stand: UnleashStand) -> None:
    await stand.flag().write(Write(percent=50, epoch=1, owner=OWNER))
    before = await joined(stand, 50)
    stand.server.kill()
    try:
        for asking in (stand.flag().read, lambda: stand.flag().write(FIVE), lambda: stand.flag().turn_off(WHY)):
            with pytest.raises(RouterUnreachable, match=r"did not answer|on the way to it"):
                await asking()
        assert await joined(stand, 50) == before  # the application goes on with what it was given last
    finally:
        stand.server.start()
    patient = connected(stand, timeout_s=5)  # what it is asked first takes it long
    assert (await proven(stand, 50, patient)).epoch == 1
    await patient.turn_off(WHY)
    await proven(stand, 0, patient)
    assert await joined(stand, 0) == set()


async def test_a_read_that_finds_nothing_new_costs_no_download(stand: UnleashStand) -> None:
    flag = stand.flag()

    async def the_same_as_before() -> bool:
        known = flag._api._given
        await flag.read()
        return known is not None and flag._api._given is known

    await until(the_same_as_before, stand.within_s)  # the flag itself is new to the server's applications


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault("cut"), RouterUnreachable, r"did not answer GET .* \(RemoteProtocolError\)"),
        (Fault("answer", status=302, headers={"Location": "https://login.example"}), Misconfigured, "leads elsewhere"),
        (Fault("answer", status=200, body=b"<html>"), RouterUnreachable, "no JSON: is it an Unleash"),
        (Fault("answer", status=200, body=b"[]"), RouterUnreachable, "is no Unleash"),
        (Fault("answer", status=400, body=b'{"name":"BadDataError"}'), RouteRejected, r"refused \(400 BadDataError\)"),
        (Fault("answer", status=429, headers={"Retry-After": "86400"}), Throttled, "asked too often"),
    ],
)
async def test_odd_answers_are_told_apart(
    stand: UnleashStand, fault: Fault, error: type[Exception], words: str
) -> None:
    with stand.gate.fault(fault), pytest.raises(error, match=words) as caught:
        await stand.flag().read()
    if isinstance(caught.value, Throttled):
        assert caught.value.retry_after is not None
        assert caught.value.retry_after.total_seconds() == 60


async def test_a_token_file_without_a_token_is_never_quoted(stand: UnleashStand) -> None:
    stand.token_file.write_text("first-secret second-secret")
    with pytest.raises(RouterUnreachable, match="cannot be read or holds no token") as caught:
        await stand.flag().read()
    assert "secret" not in str(caught.value).replace(str(stand.token_file), "")
    stand.token_file.write_text(f"{stand.house.us.secret}\n")
    assert secret(stand.token_file, "token") == stand.house.us.secret
    await stand.flag().read()  # it may have been about to be replaced


async def test_one_connection_has_one_client(stand: UnleashStand) -> None:
    flags = [stand.flag(), stand.other_flag(), connected(stand)]
    assert len({id(each._api) for each in flags}) == 1
    assert isinstance(flags[0]._api, UnleashApi)
    assert connected(stand, timeout_s=3)._api is not flags[0]._api


def test_an_address_with_a_password_in_it_is_refused_without_being_quoted() -> None:
    with pytest.raises(ValueError, match="url") as caught:
        UnleashConnection(url="https://me:hush@unleash.example", token_file="t")  # type: ignore[arg-type]  # as in TOML
    assert "hush" not in str(caught.value)
