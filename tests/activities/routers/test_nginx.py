"""The pure half: golden includes, properties of the texts, and what a look on a host means."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.ports import Write
from activities.routers.nginx.connection import NginxConnection, variable
from activities.routers.nginx.include import Mark, desired, view
from activities.routers.nginx.text import statements, upstreams
from rollout.errors import Misconfigured
from rollout.routes import ForcedHeader, NginxRoute, Sticky
from testbed.nginx import EXAMPLE

HERE = Path(__file__).parent / "nginx"
GOLDEN = sorted(HERE.glob("*.json"))
SEEDS = {mode: EXAMPLE / mode / "checkout.conf" for mode in ("split-clients", "upstream-weights")}
SEED = {mode: file.read_text(encoding="utf-8") for mode, file in SEEDS.items()}
SPLIT = NginxRoute(connection="edge", service="checkout", header=ForcedHeader())
WEIGHTS = NginxRoute(connection="edge", service="checkout", header=ForcedHeader(), mode="upstream-weights")


def write(percent: float = 25, epoch: int = 1, **more: bool) -> Write:
    return Write(percent=percent, epoch=epoch, owner="rollout:prod/checkout", **more)


# ── Golden includes ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_the_include_becomes_what_the_golden_file_says(file: Path) -> None:
    case = json.loads(file.read_bytes())
    route = NginxRoute(**case["route"])
    before = case.get("before", SEED[route.mode])
    assert desired(before, route, Write(**case["write"])) == file.with_suffix(".conf").read_text(encoding="utf-8")


def test_there_are_golden_files() -> None:
    assert len(GOLDEN) >= 8


# ── Properties ──────────────────────────────────────────────────────────────────────────────────

PERCENTS = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
WRITES = st.builds(
    Write,
    percent=PERCENTS,
    epoch=st.integers(0, 2**53),
    owner=WORDS,
    header=st.booleans(),
    release=st.booleans(),
)
VALUES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,20}", fullmatch=True).filter(lambda value: value != "no")
HEADERS = st.one_of(
    st.none(),
    st.builds(ForcedHeader, candidate=VALUES, stable=st.just("no")),
)
STICKY = st.sampled_from([None, Sticky(), Sticky(header="X-User"), Sticky(cookie="who", ttl=timedelta(minutes=1))])
ROUTES = st.one_of(
    st.builds(NginxRoute, connection=st.just("edge"), service=st.just("checkout"), header=HEADERS, sticky=STICKY),
    st.builds(
        NginxRoute,
        connection=st.just("edge"),
        service=st.just("checkout"),
        header=HEADERS,
        mode=st.just("upstream-weights"),
    ),
)


@given(ROUTES, WRITES)
def test_what_is_written_is_read_back(route: NginxRoute, order: Write) -> None:
    text = desired(SEED[route.mode], route, order)
    seen = view(text, route)
    owner = None if order.release else order.owner
    assert (seen.mark.epoch, seen.mark.owner, seen.mark.percent) == (order.epoch, owner, order.percent)
    assert seen.percent == order.percent
    assert seen.forced == seen.mark.forced == (route.header is not None and order.header and not order.release)
    assert seen.by_hand is None


@given(ROUTES, WRITES, WRITES)
def test_the_same_write_gives_the_same_include_whatever_was_there(
    route: NginxRoute, earlier: Write, order: Write
) -> None:
    text = desired(desired(SEED[route.mode], route, earlier), route, order)
    assert text == desired(SEED[route.mode], route, order)
    assert desired(text, route, order) == text


@given(ROUTES, WRITES)
def test_at_zero_and_after_release_no_user_carries_anything_to_the_candidate(route: NginxRoute, order: Write) -> None:
    text = desired(SEED[route.mode], route, order)
    off = order.percent == 0 or order.release
    assert ("Max-Age" in text) == (not off and route.sticky is not None and route.sticky.cookie_name is not None)
    if off:
        assert "_key" not in text


@given(ROUTES, WRITES, st.data())
def test_a_letter_changed_by_hand_in_the_generated_part_is_noticed(
    route: NginxRoute, order: Write, data: st.DataObject
) -> None:
    text = desired(SEED[route.mode], route, order)
    places = [
        found.start()
        for found in re.finditer("checkout-(?=stable|candidate)", text.partition("sluice begin")[2] or text)
    ]
    if not places:
        return
    start = len(text) - len(text.partition("sluice begin")[2] or text)
    place = start + data.draw(st.sampled_from(places))
    changed = text[:place] + "x" + text[place + 1 :]
    assert view(changed, route).by_hand is not None


SERVERS = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@given(SERVERS, SERVERS, PERCENTS)
def test_weights_give_each_pool_exactly_its_share_and_each_server_its_part(
    candidates: list[int], stables: list[int], percent: float
) -> None:
    pools = {"candidate": candidates, "stable": stables}
    lines = {
        pool: [f"server {pool}-{number}:80 weight={each} max_fails=3;" for number, each in enumerate(weights)]
        for pool, weights in pools.items()
    }
    # The operator's own order, comments and parameters.
    text = "# ours\nupstream checkout { # both\n  zone a 64k;\n" + "\n\t".join(lines["stable"] + lines["candidate"])
    text += "\n  server spare:80 backup;\n}\n"
    lines["stable"].append("server spare:80;")
    text += "".join(f"upstream checkout-{pool} {{ {' '.join(each)} }}\n" for pool, each in lines.items())
    made = desired(text, WEIGHTS, write(percent))
    [service] = [each for each in statements(made) if each.words == ["upstream", "checkout"]]
    weights = {each.words[1]: each.words[2:] for each in service.inner if each.words[0] == "server"}
    got = {
        name: 0 if "down" in words else int(next(word for word in words if "weight=" in word)[7:])
        for name, words in weights.items()
        if "backup" not in words
    }
    total = sum(got.values())
    ours = {number: got[f"candidate-{number}:80"] for number in range(len(candidates))}
    assert sum(ours.values()) * 10_000 == round(percent * 100) * total
    assert all(ours[number] * candidates[0] == ours[0] * each for number, each in enumerate(candidates))
    assert all("max_fails=3" in words for name, words in weights.items() if name != "spare:80")

    def bare(config: str) -> str:
        return re.sub(r"( weight=\d+| down)", "", config.partition("# sluice begin")[0]).rstrip()

    assert bare(made) == bare(text)
    assert made.startswith("# ours\nupstream checkout { # both\n  zone a 64k;\n")


@given(st.text(st.sampled_from("ab {};\"'\\#\n$"), max_size=40))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        found = statements(text)
    except ValueError:
        return
    assert all(text[each.end - 1] in ";}" for each in found)


# ── Weights, by example ─────────────────────────────────────────────────────────────────────────


def test_the_example_of_the_article_is_what_operators_know() -> None:
    text = desired(SEED["upstream-weights"], WEIGHTS, write(5))
    assert "server 127.0.0.1:8001 max_fails=0 weight=19;" in text
    assert "server 127.0.0.1:8002 max_fails=0 weight=1;" in text


def test_a_pool_without_a_share_is_down_because_nginx_knows_no_weight_of_zero() -> None:
    assert "server 127.0.0.1:8001 max_fails=0 down;" in desired(SEED["upstream-weights"], WEIGHTS, write(100))


def test_a_server_that_an_operator_took_out_of_its_pool_stays_out() -> None:
    text = (
        "upstream checkout { server a; server b; server c; }\n"
        "upstream checkout-candidate { server c; }\nupstream checkout-stable { server a down; server b; }\n"
    )
    made = desired(text, WEIGHTS, write(50))
    assert "server a down; server b weight=1; server c weight=1;" in made


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("upstream other { server a; }", "no upstream checkout"),
        ("upstream checkout { server a; }", "add upstreams checkout-candidate and checkout-stable"),
        ("upstream checkout { server a; server a; }\nupstream checkout-stable { server a; }", "server twice"),
        (
            (
                "upstream checkout { server a; }\nupstream checkout-stable { server a; }\n"
                "upstream checkout-candidate { server a; }"
            ),
            "a is in both",
        ),
        (
            (
                "upstream checkout { server a; server b; }\nupstream checkout-stable { server a; }\n"
                "upstream checkout-candidate { server c; }"
            ),
            "has b, which neither",
        ),
        (
            (
                "upstream checkout { server a; }\nupstream checkout-stable { server a; }\n"
                "upstream checkout-candidate { server c; }"
            ),
            "no server of checkout-candidate that could take a share",
        ),
    ],
)
def test_upstreams_that_cannot_be_weighed_are_refused_with_what_to_do(text: str, problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem):
        desired(text, WEIGHTS, write(5))


def test_the_way_back_takes_everything_from_servers_that_stable_does_not_list() -> None:
    text = "upstream checkout { server a weight=1; server b weight=9; }\nupstream checkout-stable { server a; }\n"
    assert "server a weight=1; server b down;" in desired(text, WEIGHTS, write(0, release=True))


# ── What is refused, and names ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("percent", [-1, 100.01, 0.005, 33.333])
def test_a_percent_between_two_steps_is_refused(percent: float) -> None:
    with pytest.raises(Misconfigured, match=r"steps of 0\.01"):
        desired("", SPLIT, write(percent))


@pytest.mark.parametrize("pool", ["a b", "a;b", "$x", "{", ""])
def test_a_pool_that_would_be_something_else_in_the_file_is_refused(pool: str) -> None:
    route = SPLIT.model_copy(update={"candidate": pool or "-"})
    with pytest.raises(Misconfigured, match="no upstream's name"):
        desired("", route, write())


@pytest.mark.parametrize("text", ["", "map $x $y { default 1; }", "map {", "{}", '"', SEED["split-clients"][:-30]])
def test_a_file_that_is_none_of_ours_is_not_understood(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"checkout\.conf is not an include of Sluice's"):
        view(text, SPLIT)


def test_the_seeds_are_routes_that_nobody_touched() -> None:
    for route in (SPLIT, WEIGHTS):
        assert view(SEED[route.mode], route).model_dump() == {
            "mark": Mark().model_dump(),
            "percent": 0,
            "forced": False,
            "by_hand": None,
        }


def test_a_share_of_an_unknown_pool_counts_because_stable_does_not_get_it() -> None:
    text = desired("", SPLIT.model_copy(update={"candidate": "other"}), write(30))
    assert view(text, SPLIT).percent == 30


def test_upstreams_are_found_in_what_nginx_prints() -> None:
    dump = '# configuration file a.conf:\nhttp { upstream a { server x; }\n  upstream "b-c"  {}\n# upstream no {\n}'
    assert upstreams(dump) == {"a", "b-c"}


def test_names_become_variables() -> None:
    assert variable("Check-out v2.1") == "check_out_v2_1"


@pytest.mark.parametrize(
    "changed",
    [
        {"hosts": []},
        {"hosts": [{"name": "a", "state": "http://a"}, {"name": "a", "state": "http://b"}]},
        {"hosts": [{"name": "a", "state": "http://user:secret@a"}]},
        {"hosts": [{"name": "a", "state": "http://a", "ssh": "-oProxyCommand=x@a"}]},
        {"nginx": []},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changed: dict[str, object]) -> None:
    settings = {"hosts": [{"name": "a", "state": "http://a"}], "folder": "/etc/nginx/sluice"}
    NginxConnection.model_validate(settings)
    with pytest.raises(ValueError, match=r"hosts|nginx"):
        NginxConnection.model_validate({**settings, **changed})
