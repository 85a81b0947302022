"""The pure half: golden patches, properties, names of hosts, subsets, what Istio tells, and when it is believed."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.kubernetes import Cluster, Json, KubernetesConnection, settling, unsettled
from activities.ports import Write
from activities.routers.istio.hosts import is_same, service_of
from activities.routers.istio.http import desired, is_forced, names, view
from activities.routers.istio.status import is_told, unreconciled
from activities.routers.istio.subsets import ready_pods, subsets
from rollout.errors import Drifted, Misconfigured
from rollout.routes import ForcedHeader, IstioRoute
from tests.activities.routers.patching import patched

GOLDEN = sorted((Path(__file__).parent / "istio").glob("*.json"))
PLAIN = IstioRoute(
    connection="mesh", namespace="shop", virtual_service="checkout", host="checkout", candidate="v2", stable="v1"
)
ROUTE = PLAIN.model_copy(update={"header": ForcedHeader()})
HOSTS = PLAIN.model_copy(update={"host": None, "candidate": "checkout-canary", "stable": "checkout"})
OWNER = "rollout:prod/checkout"


def to(host: str, weight: int | None = None, subset: str | None = None, **more: Any) -> Json:
    destination = {"host": host, **({"subset": subset} if subset else {})}
    return {"destination": destination, **({} if weight is None else {"weight": weight}), **more}


def primary(candidate: int = 0, stable: int = 100, **more: Any) -> Json:
    return {"name": "primary", "route": [to("checkout", candidate, "v2"), to("checkout", stable, "v1")], **more}


def virtual_service(*http: Json) -> Json:
    metadata = {"name": "checkout", "namespace": "shop", "generation": 3, "resourceVersion": "7"}
    return {"metadata": metadata, "spec": {"hosts": ["checkout"], "http": list(http)}}


def write(percent: float = 5, epoch: int = 1, *, header: bool = True, release: bool = False) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, header=header, release=release)


BACK = write(0, 2, header=False, release=True)


# ── Golden patches ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_the_patch_is_what_the_golden_file_says(file: Path) -> None:
    case = json.loads(file.read_bytes())
    made = desired(case["found"], IstioRoute(**case["route"]), Write(**case["write"]))
    assert made == case["expected"], json.dumps(made, indent=2, ensure_ascii=False)


def test_there_are_golden_patches() -> None:
    assert len(GOLDEN) >= 8


# ── Properties ──────────────────────────────────────────────────────────────────────────────────

PERCENTS = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
WEIGHTS = st.integers(0, 1_000_000)
EXTRA = st.dictionaries(st.sampled_from(["retries", "timeout", "mirror", "fromTheFuture"]), st.text(max_size=5))
NEIGHBOURS = st.lists(st.builds(lambda extra: {"route": [to("other")], **extra}, EXTRA), max_size=3)
FOUND = st.builds(
    lambda before, after, candidate, stable, extra: (
        virtual_service(*before, primary(candidate, stable, **extra), *after),
        len(before),
    ),
    NEIGHBOURS, NEIGHBOURS, WEIGHTS, WEIGHTS, EXTRA,
)  # fmt: skip
WRITES = st.builds(write, PERCENTS, header=st.booleans(), release=st.booleans())


@given(FOUND, WRITES, st.booleans())
def test_what_was_written_reads_back_and_is_not_written_again(
    found: tuple[Json, int], asked: Write, by_name: bool
) -> None:
    before, position = found
    route = ROUTE.model_copy(update={"http": "primary" if by_name else position})
    after = patched(before, desired(before, route, asked))
    assert view(after, route).percent == asked.percent
    assert is_forced(after, route) is (asked.header and not asked.release)
    assert desired(after, route, asked) == []


@given(FOUND, WRITES, WRITES)
def test_everything_but_two_weights_is_there_again_after_the_way_back(
    found: tuple[Json, int], first: Write, second: Write
) -> None:
    before, position = found
    after = before
    for asked in (first, second, BACK):
        after = patched(after, desired(after, ROUTE.model_copy(update={"http": "primary"}), asked))
    assert [each["weight"] > 0 for each in after["spec"]["http"][position]["route"]] == [False, True]
    for some in (before, after):
        for each in some["spec"]["http"][position]["route"]:
            each["weight"] = 0
    assert after == before


# ── What is read ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("route", "destinations", "percent", "misleading", "unfit"),
    [
        (PLAIN, [to("checkout", 5, "v2"), to("checkout", 95, "v1")], 5, None, None),
        (PLAIN, [to("checkout", None, "v1")], 0, None, "does not name subset v2 of checkout (candidate): add it there"),
        (PLAIN, [to("checkout", None, "v2")], 100, None, "does not name subset v1 of checkout (stable)"),
        (PLAIN, [to("checkout", 5, "v3"), to("checkout", 95, "v1")], 5, "also sends to subset v3 of checkout", "v2"),
        (PLAIN, [to("cart", 5, "v2"), to("checkout", 95, "v1")], 5, "also sends to subset v2 of cart", "v2"),
        (PLAIN, [to("checkout", 5), to("checkout", 95, "v1")], 5, "also sends to checkout", "v2"),
        (PLAIN, [to("checkout", None, "v2"), to("checkout", 100, "v1")], 0, None, None),
        (PLAIN, [to("checkout", None, "v2"), to("checkout", None, "v1")], 0, "has no weight above 0", None),
        (PLAIN, [to("checkout.shop.svc.cluster.local", 5, "v2"), to("checkout", 95, "v1")], 5, None, None),
        (HOSTS, [to("checkout-canary.shop.svc.corp", 5), to("checkout", 95, "v1")], 5, None, None),
        (HOSTS, [to("checkout-canary.other.svc.corp", 5), to("checkout", 95)], 5, "also sends to", "checkout-canary"),
    ],
)
def test_who_gets_what(
    route: IstioRoute, destinations: list[Json], percent: float, misleading: str | None, unfit: str | None
) -> None:
    seen = view(virtual_service({"route": destinations}), route)
    assert seen.percent == percent
    for said, expected in ((seen.misleading(), misleading), (seen.unfit(names(route)), unfit)):
        assert (said is None) is (expected is None)
        assert (expected or "") in (said or "")


def test_a_route_that_sends_nowhere_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"http 0 of VirtualService shop/checkout has no `route`"):
        view(virtual_service({"redirect": {"uri": "/"}}), PLAIN)


def test_a_raise_wants_both_destinations_and_nobody_else() -> None:
    with pytest.raises(Misconfigured, match="with weight 0; nothing was written"):
        desired(virtual_service({"route": [to("checkout", 1, "v1")]}), PLAIN, write())
    with pytest.raises(Drifted, match=r"also sends to subset v3.*nothing was written"):
        desired(virtual_service({"route": [*primary()["route"], to("checkout", 1, "v3")]}), PLAIN, write())


@pytest.mark.parametrize("kind", ["headers", "withoutHeaders"])
def test_a_header_that_is_looked_at_already_is_refused(kind: str) -> None:
    found = virtual_service(primary(match=[{kind: {"x-canary": {"exact": "1"}}}]))
    with pytest.raises(Misconfigured, match="looks at header X-Canary already"):
        desired(found, ROUTE, write())
    assert desired(found, ROUTE, BACK) == []


# ── Hosts and subsets ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("checkout", ("shop", "checkout")),
        ("checkout.prod.svc.cluster.local", ("prod", "checkout")),
        ("checkout.prod.svc", ("prod", "checkout")),
        ("checkout.prod.svc.corp.example", ("prod", "checkout")),
        ("checkout.prod", None),
        ("api.example.com", None),
    ],
)
def test_a_host_is_a_service_or_is_not(host: str, service: tuple[str, str] | None) -> None:
    assert service_of(host, "shop") == service


def test_short_names_are_of_the_namespace_that_they_are_written_in() -> None:
    assert is_same(("checkout", "shop"), ("checkout.shop.svc.cluster.local", "elsewhere"))
    assert not is_same(("checkout", "shop"), ("checkout", "elsewhere"))
    assert is_same(("api.example.com", "shop"), ("api.example.com", "elsewhere"))


def test_subsets_are_those_of_all_rules_for_the_host() -> None:
    def rule(host: str, namespace: str, **labels: str) -> Json:
        made = [{"name": name, "labels": {"version": value}} for name, value in labels.items()]
        return {"metadata": {"namespace": namespace}, "spec": {"host": host, "subsets": made}}

    rules = [
        rule("cart", "shop", v1="no"),
        rule("checkout", "shop", v1="a"),
        rule("checkout.shop.svc.cluster.local", "mesh", v1="later", v2="b"),
        rule("checkout", "mesh", v3="no"),
        {"metadata": {"namespace": "shop"}, "spec": {"host": "checkout", "subsets": [{"name": "all"}]}},
    ]
    assert subsets(rules, "checkout", "shop") == {"v1": {"version": "a"}, "v2": {"version": "b"}, "all": {}}


def test_only_ready_pods_count_and_each_once() -> None:
    def endpoint(pod: str, ready: bool | None, kind: str = "Pod") -> Json:
        return {"conditions": {"ready": ready} if ready is not None else {}, "targetRef": {"kind": kind, "name": pod}}

    v4 = {"endpoints": [endpoint("a", True), endpoint("b", False), endpoint("c", None), endpoint("d", True, "Node")]}
    v6 = {"endpoints": [endpoint("a", True), {"conditions": {"ready": True}}]}
    assert ready_pods([v4, v6, {}, {"endpoints": None}]) == {"a", "c"}


# ── What Istio tells, and when it is believed without ───────────────────────────────────────────


def with_status(generation: object = None, **condition: object) -> Json:
    return {**virtual_service(primary()), "status": {"observedGeneration": generation, "conditions": [condition]}}


@pytest.mark.parametrize(
    ("found", "told", "words"),
    [
        (virtual_service(primary()), False, None),
        (with_status(3, type="PassedAnalysis", status="True"), False, None),
        (with_status(type="Reconciled", status="True"), False, None),
        (with_status("soon", type="Reconciled", status="True"), False, None),
        (with_status(3, type="Reconciled", status="True"), True, None),
        (with_status("3", type="Reconciled", status="True"), True, None),
        (with_status(1, type="Reconciled", status="True", observedGeneration="3"), True, None),
        (with_status(3, type="Reconciled", status="True", observedGeneration=2), True, "about generation 2, written"),
        (with_status(2, type="Reconciled", status="True"), True, "is about generation 2, written is 3"),
        (with_status(3, type="Reconciled", status="False", message="1/2  complete"), True, "Istio says: 1/2 complete"),
        (with_status(3, type="Reconciled", status="False", reason="still"), True, "Istio says: still"),
    ],
)  # fmt: skip
def test_what_istio_tells(found: Json, told: bool, words: str | None) -> None:
    assert is_told(found) is told
    if told:
        assert (unreconciled(found) is None) is (words is None)
        assert (words or "") in (unreconciled(found) or "")


class Clocks:
    """A steady clock and one that everybody sees, for a test to set."""

    steady, wall = 1000.0, 1_700_000_000.0

    def monotonic(self) -> float:
        return self.steady

    def time(self) -> float:
        return self.wall

    def pass_by(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


def test_a_change_is_believed_some_time_after_this_worker_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    monkeypatch.setattr(settling, "time", clocks)
    with ThreadPoolExecutor(1) as threads:
        cluster, other = (Cluster(KubernetesConnection(settle=timedelta(seconds=2)), threads) for _ in range(2))
        assert unsettled(cluster, "a", 1, 0) is None  # nobody wrote it: it has been so for long
        at = clocks.wall + 30  # by the clock of a worker that is ahead
        assert "changed 0.0 s ago; it is believed after 2 s" in str(unsettled(cluster, "a", 2, at))
        clocks.pass_by(1.9)
        assert unsettled(cluster, "a", 2, at) is not None
        assert unsettled(cluster, "b", 1, 0) is None
        clocks.pass_by(0.1)
        assert unsettled(cluster, "a", 2, at) is None
        behind = clocks.wall - 50  # by the clock of a worker that is behind; it wrote a moment ago
        assert unsettled(other, "a", 3, behind) is not None
        clocks.pass_by(2)
        assert unsettled(other, "a", 3, behind) is None
        clocks.pass_by(60)
        assert unsettled(cluster, "a", 3, behind) is not None  # here it is seen for the first time, after another
        assert unsettled(other, "c", 1, clocks.wall - 63) is None  # old by any clock
