"""Ways in which visitors stayed on the candidate although the split said otherwise: each was found on a real nginx."""

import re
from pathlib import Path

import pytest

from activities.ports import Write
from activities.routers.nginx import NginxDictRouter, include
from activities.routers.nginx.connection import NginxConnection, NginxHost
from activities.routers.nginx.document import Document, Look, Seed, Shown, state
from activities.routers.nginx.document import desired as document
from activities.routers.nginx.text import uses
from rollout.errors import Misconfigured
from rollout.routes import ForcedHeader, NginxRoute
from testbed.nginx import EXAMPLE
from tests.activities.routers.nginx_stand import sharing, to

DICT = NginxRoute(connection="edge", service="checkout", mode="shared-dict", header=ForcedHeader())
WEIGHTS = NginxRoute(connection="edge", service="checkout", mode="upstream-weights", header=ForcedHeader())
SPLIT = NginxRoute(connection="edge", service="checkout")
SEED = (EXAMPLE / "upstream-weights" / "checkout.conf").read_text(encoding="utf-8")
CONFIGURATION = (EXAMPLE / "nginx.conf").read_text(encoding="utf-8")
LOCATIONS = (EXAMPLE / "checkout.locations").read_text(encoding="utf-8")


def look(name: str, running: Document | None, stored: Document | None) -> Look:
    shown = Shown(
        file="/f/checkout.json",
        seed=Seed(candidate="checkout-candidate", stable="checkout-stable"),
        running=running,
        stored=stored,
    )
    return Look(NginxHost(name=name, state="http://127.0.0.1:1", ssh=f"ops@{name}"), shown)


def service_of(text: str) -> str:
    found = re.search(r"^upstream checkout \{.*?^\}", text, re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


# ── A group of which only some have the write ───────────────────────────────────────────────────


@pytest.mark.parametrize("half", ["another host", "the disk", "nothing running"])
def test_what_was_written_half_shows_the_older_epoch_so_that_it_is_written_again(half: str) -> None:
    old = document(DICT, Write(percent=0, epoch=4, owner="o"))
    new = document(DICT, Write(percent=0, epoch=5, owner="o", header=False, release=True))
    second = {
        "another host": (old, old),
        "the disk": (new, old),
        "nothing running": (None, new),
    }[half]
    found = state(DICT, [look("a", new, new), look("b", *second)], {}, Path("/f"))
    assert found.epoch < 5
    assert found.in_force is None
    assert state(DICT, [look("a", new, new), look("b", new, new)], {}, Path("/f")).epoch == 5


# ── Servers that no pool lists ──────────────────────────────────────────────────────────────────


def moved() -> str:
    """At 50 %, and then the operator has given the candidate another address in its own upstream alone."""
    text = include.desired(SEED, WEIGHTS, to(50, 1))
    return text.replace(
        "checkout-candidate {\n    server 127.0.0.1:8002", "checkout-candidate {\n    server 127.0.0.1:9"
    )


def test_the_candidates_old_address_is_down_on_the_way_back() -> None:
    text = moved()
    assert "server 127.0.0.1:8002 max_fails=0 weight=1;" in service_of(text)
    back = include.desired(text, WEIGHTS, to(0, 2, release=True))
    assert "server 127.0.0.1:8002 max_fails=0 down;" in service_of(back)
    assert include.view(back, WEIGHTS).by_hand is None


@pytest.mark.parametrize("percent", [0, 50])
def test_a_server_that_no_pool_lists_is_in_no_percent(percent: float) -> None:
    text = include.desired(SEED, WEIGHTS, to(percent, 1)).replace(
        "server 127.0.0.1:8002 max_fails=0 down;", "server 127.0.0.1:8002 max_fails=0 weight=1;"
    )
    changed = text.replace("checkout-candidate {\n    server 127.0.0.1:8002", "checkout-candidate {\n    server x:9")
    seen = include.view(changed, WEIGHTS)
    assert seen.percent == 50  # all that stable does not get
    assert seen.by_hand is not None
    assert "has 127.0.0.1:8002 up, which neither checkout-candidate nor checkout-stable lists" in seen.by_hand


def test_a_backup_of_the_candidate_is_not_zero_and_the_way_back_takes_it_down() -> None:
    text = include.desired(SEED, WEIGHTS, to(0, 1)).replace("8002 max_fails=0 down;", "8002 max_fails=0 backup;")
    seen = include.view(text, WEIGHTS)
    assert seen.by_hand is not None
    assert "127.0.0.1:8002 up, which is a backup of checkout-candidate" in seen.by_hand
    back = include.desired(text, WEIGHTS, to(0, 2))
    assert "server 127.0.0.1:8002 max_fails=0 backup down;" in service_of(back)
    assert include.view(back, WEIGHTS).by_hand is None


def test_a_backup_of_stable_is_the_operators() -> None:
    line = "server 127.0.0.1:8003 backup;"
    text = SEED.replace("\n}\n\nupstream checkout-c", f"\n    {line}\n}}\n\nupstream checkout-c")
    text = text.replace("checkout-stable {\n", f"checkout-stable {{\n    {line}\n")
    assert line in service_of(text)
    for percent in (0, 50):
        made = include.desired(text, WEIGHTS, to(percent, 1))
        assert line in service_of(made)
        assert include.view(made, WEIGHTS).by_hand is None


def test_a_raise_names_the_backup_that_no_pool_lists() -> None:
    text = SEED.replace("\n}\n\nupstream checkout-c", "\n    server spare:1 backup;\n}\n\nupstream checkout-c")
    with pytest.raises(Misconfigured, match="has spare:1, which neither"):
        include.desired(text, WEIGHTS, to(5, 1))


def test_a_broken_include_is_named_and_no_raw_error() -> None:
    with pytest.raises(Misconfigured, match=r"checkout\.conf cannot be understood: an open quote.*repair it"):
        include.desired(SEED + '\nfoo "bar', WEIGHTS, to(0, 9, release=True))


# ── A split that leads nobody ───────────────────────────────────────────────────────────────────


def dump(main: str, locations: str = LOCATIONS) -> str:
    """As `nginx -T` prints it."""
    return "".join(
        f"# configuration file {name}:\n{text}\n"
        for name, text in (
            ("/e/nginx.conf", main),
            ("/e/s/checkout.conf", SEED),
            ("/e/s/checkout.locations", locations),
        )
    )


PASS = "proxy_pass http://$sluice_checkout_pool;"


@pytest.mark.parametrize(
    ("written", "led"),
    [
        (PASS, True),
        ("proxy_pass http://${sluice_checkout_pool};", True),
        ("grpc_pass grpc://$sluice_checkout_pool;", True),
        ("set $to $sluice_checkout_pool; proxy_pass http://$to;", True),
        ("proxy_pass http://checkout-stable;", False),
        ("proxy_pass http://$sluice_checkout_pool2;", False),
        (f"# {PASS}\n proxy_pass http://checkout-stable;", False),
        ("proxy_pass http://checkout-stable; add_header X $sluice_checkout_pool;", False),
    ],
)
def test_whether_visitors_are_led_by_the_split(written: str, led: bool) -> None:
    assert PASS in CONFIGURATION
    main = CONFIGURATION.replace(PASS, written)
    assert uses(dump(main), "sluice_checkout_pool", None) is led
    lua = main.replace("http {", "http { init_by_lua_block { t = {{}} }")
    assert uses(dump(lua, ""), "sluice_checkout_pool", None) is led


def test_weights_lead_those_who_are_passed_to_the_upstream_by_name() -> None:
    main = CONFIGURATION.replace(PASS, "proxy_pass http://checkout/shop;")
    assert uses(dump(main), "sluice_checkout_pool", "checkout")
    assert not uses(dump(main), "sluice_checkout_pool", None)
    assert not uses(dump(main.replace("checkout/shop", "checkout-stable")), "sluice_checkout_pool", "checkout")


@pytest.mark.parametrize(
    ("percent", "pools", "words"),
    [
        (0, ["checkout-stable"] * 3, None),
        (0, ["checkout-stable", "checkout-candidate"], "sent to checkout-candidate"),
        (100, ["checkout-candidate", "checkout-stable"], "sent to checkout-stable"),
        (5, ["checkout-candidate", "checkout-stable"], None),
        (5, ["checkout-stable", None], "no header X-Sluice-Pool"),
        (0, [], None),
    ],
)
def test_where_visitors_were_sent_agrees_with_the_state_or_is_told(
    percent: float, pools: list[str | None], words: str | None
) -> None:
    said = include.strange_visit(pools, percent, SPLIT)
    assert (said is None) if words is None else (said is not None and words in said)
    weighed = ["checkout" if pool else None for pool in pools]
    assert (include.strange_visit(weighed, percent, WEIGHTS) is None) is (None not in pools)


async def test_a_shared_dict_refuses_a_look_that_it_would_not_take() -> None:
    host = NginxHost(name="a", state="http://127.0.0.1:1", visitors={"checkout": "http://127.0.0.1:1/"})
    async with sharing() as shared:
        with pytest.raises(Misconfigured, match="`visitors` of checkout is for modes that reload"):
            NginxDictRouter(DICT, NginxConnection(hosts=(host,), folder=Path("/f")), shared)
