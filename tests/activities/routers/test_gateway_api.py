"""The pure half: golden patches, properties, what is read, and what is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.kubernetes import ANNOTATION, Json, Mark
from activities.kubernetes.entries import noted
from activities.kubernetes.splitting import weighed
from activities.ports import Write
from activities.routers.gateway_api.rules import desired, is_forced, keeps_users, names, view
from rollout.errors import Drifted, Misconfigured
from rollout.routes import ForcedHeader, GatewayApiRoute
from tests.activities.routers.patching import patched

GOLDEN = sorted((Path(__file__).parent / "gateway_api").glob("*.json"))
PLAIN = GatewayApiRoute(
    connection="prod", namespace="shop", http_route="checkout", candidate="checkout-canary", stable="checkout"
)
ROUTE = PLAIN.model_copy(update={"header": ForcedHeader()})
OWNER = "rollout:prod/checkout"
EVERY_PATH = {"path": {"type": "PathPrefix", "value": "/"}}


def backend(name: str, weight: int = 1, **more: Any) -> Json:
    return {"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight, **more}


def split(candidate: int = 0, stable: int = 1, **more: Any) -> Json:
    backends = [backend("checkout-canary", candidate), backend("checkout", stable)]
    return {"matches": [EVERY_PATH], "backendRefs": backends, **more}


def http_route(*rules: Json, **spec: Any) -> Json:
    """An HTTPRoute as the API server tells it: defaults are filled in."""
    metadata = {"name": "checkout", "namespace": "shop", "generation": 3, "resourceVersion": "7"}
    return {"metadata": metadata, "spec": {"parentRefs": [{"name": "edge"}], "rules": list(rules), **spec}}


def write(percent: float = 5, epoch: int = 1, *, header: bool = True, release: bool = False) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, header=header, release=release)


BACK = write(0, 2, header=False, release=True)


def weights(found: Json, position: int = 0) -> dict[str, int]:
    return {each["name"]: each["weight"] for each in found["spec"]["rules"][position]["backendRefs"]}


# ── Golden patches ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_the_patch_is_what_the_golden_file_says(file: Path) -> None:
    case = json.loads(file.read_bytes())
    made = desired(case["found"], GatewayApiRoute(**case["route"]), Write(**case["write"]))
    assert made == case["expected"], json.dumps(made, indent=2, ensure_ascii=False)


def test_there_are_golden_patches() -> None:
    assert len(GOLDEN) >= 5


# ── Properties ──────────────────────────────────────────────────────────────────────────────────

PERCENTS = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
WEIGHTS = st.integers(0, 1_000_000)
EXTRA = st.dictionaries(st.sampled_from(["filters", "timeouts", "retry", "fromTheFuture"]), st.text(max_size=5))
NEIGHBOURS = st.lists(
    st.builds(lambda n, extra: {"matches": [EVERY_PATH], "backendRefs": [backend(f"s{n}")], **extra},
              st.integers(0, 3), EXTRA),
    max_size=3,
)  # fmt: skip
ROUTES = st.builds(
    lambda before, after, candidate, stable, extra: (
        http_route(*before, split(candidate, stable, name="pay", **extra), *after),
        len(before),
    ),
    NEIGHBOURS, NEIGHBOURS, WEIGHTS, WEIGHTS, EXTRA,
)  # fmt: skip
WRITES = st.builds(write, PERCENTS, header=st.booleans(), release=st.booleans())


@given(ROUTES, WRITES, st.booleans())
def test_what_was_written_reads_back_and_is_not_written_again(
    given_route: tuple[Json, int], asked: Write, by_name: bool
) -> None:
    before, position = given_route
    route = ROUTE.model_copy(update={"rule": "pay" if by_name else position})
    after = patched(before, desired(before, route, asked))
    assert view(after, route).percent == asked.percent
    assert view(after, route).misleading() is None
    assert is_forced(after, route) is (asked.header and not asked.release)
    assert desired(after, route, asked) == []


@given(ROUTES, WRITES)
def test_everything_but_two_weights_stays(given_route: tuple[Json, int], asked: Write) -> None:
    before, position = given_route
    route = ROUTE.model_copy(update={"rule": "pay"})
    after = patched(before, desired(before, route, asked))
    after["spec"]["rules"] = [
        rule for rule in after["spec"]["rules"] if not str(rule.get("name")).startswith("sluice-")
    ]
    for found in (before, after):
        for each in found["spec"]["rules"][position]["backendRefs"]:
            each["weight"] = 0
    assert after == before


@given(ROUTES, WRITES, WRITES)
def test_only_the_last_write_counts_for_percent_and_rules(
    given_route: tuple[Json, int], first: Write, last: Write
) -> None:
    before, position = given_route
    route = ROUTE.model_copy(update={"rule": position})
    straight = patched(before, desired(before, route, last))
    between = patched(before, desired(before, route, first))
    after = patched(between, desired(between, route, last))
    assert view(after, route).percent == view(straight, route).percent
    assert len(after["spec"]["rules"]) == len(straight["spec"]["rules"])


@given(PERCENTS, st.integers(0, 3_000_000))
def test_weights_are_whole_never_all_zero_and_exactly_the_percent(percent: float, total: int) -> None:
    candidate, stable = weighed(percent, total)
    assert 0 <= candidate <= 1_000_000
    assert 0 <= stable <= 1_000_000
    assert 10_000 * candidate == round(percent * 100) * (candidate + stable)
    assert candidate + stable > 0


@pytest.mark.parametrize("percent", [-0.01, 100.01, 0.001, 33.333])
def test_a_percent_without_whole_weights_is_refused(percent: float) -> None:
    with pytest.raises(Misconfigured, match=r"0\.01"):
        weighed(percent, 100)


# ── What is read ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("backends", "percent", "misleading", "unfit"),
    [
        ([backend("checkout-canary", 5), backend("checkout", 95)], 5, None, None),
        ([backend("checkout")], 0, None, "does not name checkout-canary (candidate): add it there, with weight 0"),
        ([backend("checkout-canary")], 100, None, "does not name checkout (stable)"),
        ([backend("checkout", 0), backend("checkout-canary", 0)], 0, "has no weight above 0", None),
        ([], 0, "has no weight above 0", "does not name checkout-canary"),
        ([{"name": "checkout-canary"}, {"name": "checkout"}], 50, None, None),
        (
            [backend("checkout-canary", 5), backend("checkout", 45), backend("old", 50)],
            55,
            "also sends to old (weight 50), neither candidate nor stable",
            None,
        ),
        ([backend("checkout-canary", 0), backend("checkout"), backend("old", 0)], 0, None, None),
        (
            [backend("checkout-canary", 10), backend("checkout", 70), backend("checkout", 20, port=81)],
            10,
            None,
            "names checkout (stable) 2 times",
        ),
        (
            [backend("checkout-canary", 10, namespace="other"), backend("checkout", 90)],
            10,
            "also sends to other/checkout-canary (weight 10)",
            "does not name checkout-canary",
        ),
        (
            [backend("checkout-canary", 10, kind="Bucket", group="x.io"), backend("checkout", 90)],
            10,
            "also sends to Bucket checkout-canary (weight 10)",
            "does not name checkout-canary",
        ),
        ([backend("checkout-canary", 10, namespace="shop"), backend("checkout", 90)], 10, None, None),
    ],
)
def test_who_gets_what(backends: list[Json], percent: float, misleading: str | None, unfit: str | None) -> None:
    seen = view(http_route({"backendRefs": backends}), ROUTE)
    assert seen.percent == percent
    for said, expected in ((seen.misleading(), misleading), (seen.unfit(names(ROUTE)), unfit)):
        assert (said is None) is (expected is None)
        assert (expected or "") in (said or "")


def test_positions_do_not_count_the_rules_of_ours() -> None:
    other, ours = {"name": "admin", "backendRefs": []}, [{"name": "sluice-candidate"}, {"name": "sluice-stable-pay"}]
    found = http_route(*ours, other, ours[0], split(7, 93))
    assert view(found, ROUTE.model_copy(update={"rule": 1})).percent == 7
    with pytest.raises(Misconfigured, match="has no rule 2; there are: admin, 1"):
        view(found, ROUTE.model_copy(update={"rule": 2}))


def marked(found: Json, *notes: str) -> Json:
    """The HTTPRoute with the mark of a rollout that noted something about rules."""
    more = ",".join(notes)
    text = f'{{"epoch":1,"owner":"{OWNER}","percent":5,"more":{{{more}}}}}'
    return {**found, "metadata": {**found["metadata"], "annotations": {ANNOTATION: text}}}


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_rule_that_is_known_by_its_position_is_found_where_it_went(before: int) -> None:
    pay = {"path": {"type": "Exact", "value": "/pay"}}
    others = [{"matches": [{"path": {"type": "Exact", "value": f"/{n}"}}], "backendRefs": []} for n in range(before)]
    note = noted(Mark(), 1, split(matches=[pay]), "matches", forced=False)["1"]
    found = marked(http_route(*others, split(5, 95, matches=[pay])), f'"1":{json.dumps(note)}')
    assert view(found, ROUTE.model_copy(update={"rule": 1})).percent == 5


# ── The way back ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("backends", "after"),
    [
        ([backend("checkout")], {"checkout": 1}),
        ([backend("checkout", 0)], {"checkout": 100}),
        ([backend("old", 9), backend("checkout", 0)], {"old": 0, "checkout": 100}),
        ([backend("old", 9), backend("checkout-canary", 5), backend("checkout", 3)],
         {"old": 0, "checkout-canary": 0, "checkout": 3}),
        ([backend("checkout-canary", 0), backend("checkout", 0)], {"checkout-canary": 0, "checkout": 100}),
        ([backend("checkout-canary", 25), backend("checkout", 75)], {"checkout-canary": 0, "checkout": 100}),
    ],
)  # fmt: skip
def test_the_way_back_leaves_everything_to_stable_whatever_is_there(
    backends: list[Json], after: dict[str, int]
) -> None:
    found = http_route({"matches": [EVERY_PATH], "backendRefs": backends})
    assert weights(patched(found, desired(found, ROUTE, BACK))) == after


def test_the_way_back_keeps_one_of_two_entries_for_stable_as_it_is() -> None:
    backends = [backend("checkout-canary", 50), backend("checkout", 30), backend("checkout", 20, port=81)]
    found = http_route({"backendRefs": backends})
    after = patched(found, desired(found, ROUTE, BACK))
    assert [each["weight"] for each in after["spec"]["rules"][0]["backendRefs"]] == [0, 30, 20]


def test_there_is_no_way_back_to_a_stable_that_is_not_there() -> None:
    with pytest.raises(Misconfigured, match=r"does not name checkout \(stable\), so nothing can go back to it"):
        desired(http_route({"backendRefs": [backend("checkout-canary")]}), ROUTE, BACK)


def test_a_release_at_hundred_needs_no_stable_any_more() -> None:
    found = http_route({"backendRefs": [backend("checkout-canary")]})
    assert desired(found, ROUTE, write(100, 9, release=True)) == []


# ── What is refused ─────────────────────────────────────────────────────────────────────────────


def test_a_raise_wants_both_backends_and_nobody_else() -> None:
    with pytest.raises(Misconfigured, match=r"add it there, with weight 0; nothing was written"):
        desired(http_route({"backendRefs": [backend("checkout")]}), ROUTE, write())
    with pytest.raises(Drifted, match=r"also sends to old.*nothing was written"):
        desired(http_route({"backendRefs": [*split()["backendRefs"], backend("old", 5)]}), ROUTE, write())


def test_users_that_are_kept_on_a_backend_are_no_raise_and_no_proof() -> None:
    found = http_route(split(sessionPersistence={"sessionName": "s"}))
    assert "keeps users on their backend even at weight 0" in str(keeps_users(found, ROUTE))
    with pytest.raises(Misconfigured, match="sessionPersistence"):
        desired(found, ROUTE, write())
    assert desired(found, ROUTE, BACK) == []


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([split(matches=[{"headers": [{"name": "x-canary", "value": "1"}]}])], "looks at header X-Canary already"),
        ([split(matches=[{"headers": [{"name": f"h{n}", "value": "1"} for n in range(16)]}])], "no room for X-Canary"),
        ([split(), *({"backendRefs": []} for _ in range(14))], "17 rules with 17 matches"),
        ([split(matches=[EVERY_PATH] * 43)], "3 rules with 129 matches"),
    ],
)
def test_forced_rules_that_do_not_fit_are_refused_and_keep_no_way_back(rules: list[Json], words: str) -> None:
    found = http_route(*rules)
    for percent in (0, 5):
        with pytest.raises(Misconfigured, match=words):
            desired(found, ROUTE, write(percent))
    assert len(desired(found, PLAIN, write())) == 2
    assert desired(found, ROUTE, BACK) == []


def test_limits_are_those_of_the_api() -> None:
    assert desired(http_route(split(), *({"backendRefs": []} for _ in range(13))), ROUTE, write())
    assert desired(http_route(split(matches=[EVERY_PATH] * 42)), ROUTE, write())


def test_nothing_is_changed_in_what_was_read() -> None:
    found = http_route(split(name="pay", filters=[{"type": "ExtensionRef"}]), split())
    before = copy.deepcopy(found)
    for asked in (write(), write(0), BACK, write(100)):
        desired(found, ROUTE, asked)
    assert found == before
