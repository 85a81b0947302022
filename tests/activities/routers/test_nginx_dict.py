from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.ports import RouteState, Write
from activities.routers.nginx.connection import NginxHost
from activities.routers.nginx.document import Document, Look, Shown, desired, state
from rollout.errors import Misconfigured
from rollout.routes import ForcedHeader, NginxRoute, Sticky

GOLDEN = Path(__file__).parent / "nginx_dict"
OWNER = "rollout:prod/checkout"
ROUTE = NginxRoute(connection="edge", service="checkout", mode="shared-dict")
FORCED = ROUTE.model_copy(update={"header": ForcedHeader()})
BY_COOKIE = ROUTE.model_copy(update={"sticky": Sticky(ttl=timedelta(hours=12))})
BY_HEADER = FORCED.model_copy(update={"sticky": Sticky(header="X-User")})
COLOURS = ROUTE.model_copy(update={"candidate": "green", "stable": "blue"})
HOSTS = (NginxHost(name="edge-1", state="http://edge-1:8081"), NginxHost(name="edge-2", state="http://edge-2:8081"))


def write(percent: float = 25, epoch: int = 7, **more: Any) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, **more)


def shown(running: Document | None = None, stored: Document | None = None, **more: Any) -> Shown:
    seed = {"candidate": "checkout-candidate", "stable": "checkout-stable"}
    file = "/var/lib/sluice/checkout.json"
    return Shown.model_validate({"file": file, "seed": seed, "running": running, "stored": stored, **more})


def seen(*each: Shown, route: NginxRoute = ROUTE) -> RouteState:
    looks = [Look(host, one) for host, one in zip(HOSTS, each, strict=False)]
    return state(route, looks, {"candidate": 1, "stable": 1}, Path("/var/lib/sluice"))


# ── Documents ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "route", "asked"),
    [
        ("plain", ROUTE, write()),
        ("forced", FORCED, write(0.25)),
        ("forced-off", FORCED, write(header=False)),
        ("by-cookie", BY_COOKIE, write(5)),
        ("by-header", BY_HEADER, write(100)),
        ("back", BY_HEADER, write(0, header=False, release=True)),
        ("released", BY_HEADER, write(100, release=True)),
        ("colours", COLOURS, write(50)),
    ],
)
def test_a_write_is_one_document(name: str, route: NginxRoute, asked: Write) -> None:
    assert desired(route, asked).content() == (GOLDEN / f"{name}.json").read_bytes().strip()


@given(
    percent=st.integers(0, 10_000).map(lambda each: each / 100),
    epoch=st.integers(0, 2**53),
    release=st.booleans(),
    route=st.sampled_from([ROUTE, FORCED, BY_COOKIE, BY_HEADER, COLOURS]),
)
def test_what_was_written_is_read_back(percent: float, epoch: int, release: bool, route: NginxRoute) -> None:
    document = desired(route, write(percent, epoch, release=release))
    again = Document.model_validate_json(document.content())
    assert again == document
    found = seen(shown(again, again), route=route)
    assert (found.percent, found.in_force, found.epoch) == (percent, percent, epoch)
    assert found.owner == (None if release else OWNER)
    assert sum(document.shares().values()) == pytest.approx(100)
    assert f"epoch {epoch}" in found.proof


@given(percent=st.floats(allow_nan=False))
def test_a_percent_is_a_whole_weight_or_refused(percent: float) -> None:
    try:
        document = desired(ROUTE, write(percent))
    except (Misconfigured, OverflowError):
        return
    assert 0 <= document.weight <= 10_000
    assert document.weight / 100 == pytest.approx(percent, abs=1e-7)


def test_a_name_that_nginx_cannot_have_is_refused() -> None:
    with pytest.raises(Misconfigured, match="'a b' is no name of an upstream"):
        desired(ROUTE.model_copy(update={"candidate": "a b"}), write(0))


# ── What nginx shows ────────────────────────────────────────────────────────────────────────────


def test_nothing_written_is_nothing_on_the_candidate() -> None:
    found = seen(shown())
    assert (found.percent, found.in_force, found.epoch, found.owner, found.problem) == (0, 0, 0, None, None)
    assert found.proof == "edge-1 shows epoch 0: checkout-stable 100 %"


def test_what_runs_and_is_not_on_disk_is_not_in_force() -> None:
    old, new = desired(ROUTE, write(25, 7)), desired(ROUTE, write(0, 8))
    found = seen(shown(new, old))
    assert (found.percent, found.in_force, found.epoch, found.proof) == (25, None, 7, "")
    assert found.problem is not None
    assert "edge-1: it runs with epoch 8: checkout-stable 100 %, /var/lib/sluice/checkout.json says epoch 7" in (
        found.problem
    )
    lost = seen(shown(new, None, stored_problem="No space left on device"))
    assert (lost.percent, lost.in_force) == (0, None)
    assert lost.problem is not None
    assert "a restart would forget it: No space left on device" in lost.problem


def test_the_colours_of_the_last_rollout_are_read_by_name() -> None:
    last = desired(COLOURS, write(100, release=True))  # all on green
    following = ROUTE.model_copy(update={"candidate": "blue", "stable": "green"})
    assert (seen(shown(last, last), route=following).percent, seen(shown(last, last), route=following).in_force) == (
        0,
        0,
    )
    assert seen(shown(last, last), route=COLOURS).in_force == 100


def test_traffic_to_another_pool_is_never_in_force() -> None:
    last = desired(COLOURS, write(40, release=True))
    found = seen(shown(last, last), route=ROUTE)
    assert (found.percent, found.in_force) == (0, None)
    assert found.problem is not None
    assert "which is no pool of this route" in found.problem


def test_hosts_that_differ_are_not_in_force_and_count_as_the_highest() -> None:
    low, high = desired(ROUTE, write(5, 7)), desired(ROUTE, write(25, 8))
    found = seen(shown(low, low), shown(high, high))
    assert (found.percent, found.in_force, found.epoch) == (25, None, 7)
    assert found.problem is not None
    assert found.problem.startswith("the hosts differ: edge-1 shows epoch 7")
