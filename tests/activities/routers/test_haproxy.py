"""The HAProxy adapter without an HAProxy: maps, weights, state files; what it prints was recorded from 2.6.12."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.ports import Pool, Write
from activities.routers.haproxy import map_file
from activities.routers.haproxy.map_file import Entries, Mark
from activities.routers.haproxy.servers import Move, Pools, Server, pools, servers, share, strangers
from activities.routers.haproxy.socket import entries, table
from activities.routers.haproxy.state_file import remembered, state_file
from activities.routers.haproxy.weights import achieved, chosen, finest, weighed
from rollout.errors import Misconfigured
from rollout.routes import ForcedHeader, HaproxyRoute, Sticky

RECORDED = Path(__file__).parent / "haproxy"
OWNER = "rollout:prod/checkout"
ROUTE = HaproxyRoute(connection="edge-1", service="checkout", header=ForcedHeader())
STICKY = ROUTE.model_copy(update={"sticky": Sticky()})
WEIGHTS = HaproxyRoute(connection="edge-1", service="search", mode="server-weights", header=ForcedHeader())


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def write(percent: float, epoch: int = 7, **more: Any) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, **more)


def server(name: str, weight: int = 0, initial: int = 0, **more: bool) -> Server:
    return Server(name=name, weight=weight, initial=initial, **{"up": True, **more})


# ── The map ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("route", "asked", "golden"),
    [
        (ROUTE, write(5.25), "raised.map"),
        (STICKY, write(25, 8), "raised-sticky.map"),
        (STICKY, write(0, 9, header=False, release=True), "released.map"),
        (WEIGHTS, write(33.3), "weighed.map"),
    ],
)
@pytest.mark.parametrize("before", ["seed.map", "raised.map", "raised-sticky.map", "weighed.map"])
def test_a_write_gives_this_file_whatever_was_there_before(
    before: str, route: HaproxyRoute, asked: Write, golden: str
) -> None:
    content = recorded(before).encode()
    wanted = map_file.desired(map_file.parsed(content, route), route, asked)
    after = map_file.rendered(content, wanted, route)
    assert after.decode() == recorded(golden)
    assert map_file.parsed(after, route) == wanted
    lines = [line for line in recorded(golden).replace("mirror   off", "mirror off").splitlines() if line[0] != "#"]
    assert map_file.payload(wanted).splitlines() == lines


def test_a_map_is_read_as_haproxy_reads_it() -> None:
    content = b"# comment\n\nweight   12  \nfoo\tbar  baz \n # no comment\nbare\n"
    assert map_file.parsed(content, ROUTE) == {"weight": "12", "foo": "bar  baz", "#": "no comment", "bare": ""}
    shown = "0x55 weight 12\n0x56 foo bar  baz\n0x57 # no comment\n0x58 bare "
    assert dict(entries(shown) or ()) == map_file.parsed(content, ROUTE)
    assert entries("Unknown map identifier. Please use #<id> or <file>.") is None
    assert entries("") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a 1\nb 2\na 3\n", "the key a twice"), (b"\xff\xfe", "is no text")],
)
def test_a_file_that_is_no_map_is_named(content: bytes, words: str) -> None:
    with pytest.raises(Misconfigured, match=rf"checkout\.map.*{words}"):
        map_file.parsed(content, ROUTE)


@pytest.mark.parametrize("found", [{"weight": "abc"}, {"weight": "10001"}, {"weight": "-1"}, {"epoch": "x"}])
def test_a_mark_that_is_not_ours_is_named(found: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match=r"checkout\.map says"):
        map_file.mark(found, ROUTE)


def test_a_mark_says_what_was_written() -> None:
    for route, percent in ((ROUTE, 5.25), (WEIGHTS, 33.3), (WEIGHTS, 0), (ROUTE, 100)):
        wanted = map_file.desired({}, route, write(percent))
        assert map_file.mark(wanted, route) == Mark(epoch=7, owner=OWNER, percent=percent, forced=True)
    assert map_file.mark({}, WEIGHTS) == Mark()
    assert map_file.mark({}, ROUTE) == Mark(percent=0)


@pytest.mark.parametrize("percent", [-1, 100.01, 0.001, 33.333])
def test_a_percent_without_a_whole_weight_is_refused(percent: float) -> None:
    with pytest.raises(Misconfigured, match=r"0\.01"):
        map_file.desired({}, ROUTE, write(percent))


@pytest.mark.parametrize("value", ["two\nlines", " blank in front", "tab\t"])
def test_words_that_cannot_stand_in_a_map_are_refused(value: str) -> None:
    route = ROUTE.model_copy(update={"header": ForcedHeader.model_construct(candidate=value)})
    with pytest.raises(Misconfigured, match="force-candidate"):
        map_file.desired({}, route, write(5))


@pytest.mark.parametrize("before", [{"percent": "5"}, {"percent": "0", "raised": "yes"}, {"percent": "unknown"}])
def test_at_0_percent_no_header_leads_to_a_candidate_that_had_users_whom_haproxy_may_keep(before: Entries) -> None:
    assert not map_file.mark(map_file.desired(before, WEIGHTS, write(0), pins=True), WEIGHTS).forced
    for found, percent, pins in (({}, 0, True), ({"percent": "0"}, 0, True), (before, 5, True), (before, 0, False)):
        assert map_file.mark(map_file.desired(found, WEIGHTS, write(percent), pins=pins), WEIGHTS).forced
    released = map_file.desired(before, WEIGHTS, write(0, header=False, release=True))
    assert released["raised"] == "yes"  # cookies outlive a rollout


@pytest.mark.parametrize(
    ("found", "route", "words"),
    [
        ({"header": "x-canary", "cookie": "sluice-user"}, STICKY, None),
        ({}, ROUTE, "does not say that haproxy.cfg reads header X-Canary"),
        ({"header": "X-Other"}, ROUTE, "reads header X-Other"),
        ({"header": "X-Canary"}, STICKY, "does not say that haproxy.cfg reads cookie sluice-user"),
        ({"header": "X-Canary", "user": "X-Id"}, ROUTE.model_copy(update={"sticky": Sticky(header="X-User")}), "X-Id"),
        ({"header": "X-Canary", "candidate": "blue"}, ROUTE, "has blue as candidate"),
        ({"header": "X-Canary", "stable": "checkout-stable"}, ROUTE, None),
    ],
)
def test_what_haproxy_cfg_does_not_do_is_told(found: dict[str, str], route: HaproxyRoute, words: str | None) -> None:
    problem = map_file.unfit(found, route)
    assert problem is None if words is None else words in str(problem)


def test_differences_are_told_in_few_words() -> None:
    assert map_file.difference({"weight": "5"}, {"weight": "5", "mirror": "on"}, "f") is None
    told = map_file.difference({"epoch": "1", "owner": "a"}, {"epoch": "2", "ttl": "60"}, "f")
    assert told == "HAProxy shows epoch 1, f says epoch 2; HAProxy shows owner a, f says no owner; and more"


# ── Servers and weights ─────────────────────────────────────────────────────────────────────────


def test_recorded_servers_are_read() -> None:
    found = servers(table(recorded("servers_state_parked.txt").rstrip("\n")) or ())
    assert found == [
        server("search-stable-1", 256, 100),
        server("search-candidate-1", 0, 0, up=False, parked=True, away=True),
    ]
    rows = table(recorded("stat_parked.csv").rstrip("\n")) or []
    assert {row["svname"]: row["status"] for row in rows if row["pxname"] == "search"} == {
        "search-stable-1": "UP",
        "search-candidate-1": "MAINT",
        "BACKEND": "UP",
    }


def test_the_longer_of_two_fitting_names_counts() -> None:
    route = HaproxyRoute(connection="e", service="s", mode="server-weights", stable="app", candidate="app-next")
    every = [server("app-1", 1), server("app-next-1", 1), server("other", 1), server("idle"), server("o", 1, away=True)]
    found = pools(every, route)
    assert {pool: [each.name for each in found[pool]] for pool in found} == {
        "candidate": ["app-next-1"],
        "stable": ["app-1"],
    }
    assert strangers(every, route) == ["other"]


@pytest.mark.parametrize(
    ("initial", "percent", "wanted"),
    [
        (([0], [100]), 0, [0, 256]),
        (([0], [100]), 1, [2, 198]),
        (([0], [100]), 33.3, [128, 256]),
        (([0], [100]), 100, [256, 0]),
        (([0, 0], [100, 100, 100]), 1, [3, 3, 198, 198, 198]),
        (([100], [50, 100, 200]), 5, [23, 62, 125, 250]),  # in the operator's proportions
    ],
)
def test_the_nearest_weights_are_chosen(
    initial: tuple[list[int], list[int]], percent: float, wanted: list[int]
) -> None:
    assert list(chosen(members(*initial), percent, WEIGHTS).values()) == wanted


def members(candidate: list[int], stable: list[int], weights: dict[str, int] | None = None) -> Pools:
    found: Pools = {"candidate": [], "stable": []}
    sides: tuple[tuple[Pool, list[int]], ...] = (("candidate", candidate), ("stable", stable))
    for pool, initial in sides:
        for number, each in enumerate(initial):
            name = f"search-{pool}-{number}"
            found[pool].append(server(name, (weights or {}).get(name, each), each))
    return found


SIDES = st.lists(st.integers(0, 256), min_size=1, max_size=4)


@settings(deadline=None)
@given(candidate=SIDES, stable=SIDES, percent=st.integers(1, 99))
def test_weights_are_possible_and_near_and_nobody_is_forgotten(
    candidate: list[int], stable: list[int], percent: int
) -> None:
    found = members(candidate, stable)
    try:
        wanted = chosen(found, percent, WEIGHTS)
    except Misconfigured:
        assert percent < 5 or len(candidate + stable) > 2  # two servers can do that
        return
    assert all(0 <= weight <= 256 for weight in wanted.values())
    assert abs(achieved(wanted, found) - percent) <= 0.2 * percent
    for pool in found.values():
        for each in pool:
            assert bool(wanted[each.name]) == (bool(each.initial) or not any(one.initial for one in pool))
    settled = members(candidate, stable, wanted)
    assert chosen(settled, percent, WEIGHTS) == wanted
    assert weighed(settled, Mark(epoch=1, percent=percent), (), WEIGHTS)[0] == percent


@settings(deadline=None)
@given(
    before=st.lists(st.integers(0, 256), min_size=4, max_size=4).filter(any),
    parked=st.booleans(),
    percent=st.sampled_from([0, 5, 50, 95, 100]),
    park=st.booleans(),
)
def test_somebody_has_a_weight_at_every_moment(before: list[int], parked: bool, percent: int, park: bool) -> None:
    found = members([0, 0], [100, 100])
    every = [each for pool in found.values() for each in pool]
    now = {each.name: each for each in every}
    for name, weight in zip(now, before, strict=True):
        gone = parked and "candidate" in name
        now[name] = server(name, weight, now[name].initial, parked=gone, away=gone)
    if not any(each.weight for each in now.values() if not each.away):
        return  # nobody had one to begin with
    route = WEIGHTS
    move = Move(
        backend="search",
        members=pools(now.values(), route),
        wanted=chosen(pools(now.values(), route), percent, route),
        park=park and percent == 0,
    )
    for command in [*move.wake(), *move.commands()]:
        _, _, where, what, value = command.split()
        name = where.removeprefix("search/")
        change = {"weight": int(value)} if what == "weight" else {"parked": value == "maint", "away": value == "maint"}
        now[name] = now[name].model_copy(update=change)
        assert any(each.weight for each in now.values() if not each.away), command
    assert move.model_copy(update={"members": pools(now.values(), route)}).is_done
    if percent == 0:
        assert share(pools(now.values(), route)) == 0


def test_a_percent_that_no_weights_come_near_is_refused() -> None:
    assert finest(members([0], [100])) == 0.389
    with pytest.raises(Misconfigured, match=r"of 1 and 1 servers give 0\.389 % at best"):
        chosen(members([0], [100]), 0.25, WEIGHTS)
    with pytest.raises(Misconfigured, match="begins with search-stable"):
        chosen(members([0], []), 5, WEIGHTS)


def test_one_server_away_is_as_one_that_is_down_but_all_of_a_pool_are_another_split() -> None:
    mark = Mark(epoch=1, percent=50)
    found = members([0, 0], [100], chosen(members([0, 0], [100]), 50, WEIGHTS))
    first, second = found["candidate"]
    found["candidate"] = [first.model_copy(update={"away": True}), second]
    assert weighed(found, mark, (), WEIGHTS)[0] == 50
    found["candidate"] = [each.model_copy(update={"away": True}) for each in (first, second)]
    percent, _, problem = weighed(found, mark, (), WEIGHTS)
    assert percent == 0
    assert problem is not None
    assert "search.map says 50 %" in problem


# ── The state file ──────────────────────────────────────────────────────────────────────────────


def test_a_state_file_takes_weights_and_maintenance_and_nothing_else() -> None:
    seed = recorded("servers_state_seed.txt")
    after = state_file(seed, {"search-stable-1": 256, "search-candidate-1": 0}, ["search-candidate-1"])
    changed = [
        (old, new)
        for before, now in zip(seed.split("\n"), after.split("\n"), strict=False)
        for old, new in zip(before.split(), now.split(), strict=True)
        if old != new
    ]
    assert changed == [("100", "256"), ("2", "0"), ("0", "1")]
    assert [(each.weight, each.parked) for each in remembered(after)] == [(256, False), (0, True)]
    woken = state_file(after, {"search-stable-1": 247, "search-candidate-1": 13}, [])
    assert [(each.weight, each.parked, each.up) for each in remembered(woken)] == [
        (247, False, True),
        (13, False, True),
    ]


@pytest.mark.parametrize("text", ["", "1\n", "2\n# a b\n", "1\nsomething\nelse\n"])
def test_what_is_no_state_file_brings_nothing_back(text: str) -> None:
    assert remembered(text) == []
    with pytest.raises(ValueError, match=r"."):
        state_file(text, {}, [])
