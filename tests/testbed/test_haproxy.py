import re
from pathlib import Path
from typing import Literal

import pytest

from testbed import haproxy
from testbed.haproxy import Haproxy, render
from testbed.programs import Shop

SOCKETS = {"/bed/admin.sock": "admin", "127.0.0.1:9": "user"}


def _render(template: str, **names: str) -> str:
    return render(
        template,
        folder=Path("/bed/sluice"),
        sockets=SOCKETS,
        ports={"checkout": 1, "search": 2},
        shops={"stable": 3, "candidate": 4},
        names={"checkout": "checkout", "search": "search", **names},
    )


def test_only_addresses_ports_paths_and_the_pace_of_checks_differ_from_what_operators_copy() -> None:
    before = haproxy.TEMPLATE.read_text()
    after = _render(before)
    assert "    stats socket 127.0.0.1:9 mode 600 level user\n" in after
    back = after.replace("\n    stats socket 127.0.0.1:9 mode 600 level user", "")
    for ours, theirs in (
        ("stats socket /bed/admin.sock mode 600", "stats socket /run/haproxy/admin.sock mode 660"),
        ("/bed/sluice", "/etc/haproxy/sluice"),
        ("bind 127.0.0.1:1\n", "bind :8080\n"),
        ("bind 127.0.0.1:2\n", "bind :8081\n"),
        ("127.0.0.1:3 ", "shop-stable:8000 "),
        ("127.0.0.1:4 ", "shop-candidate:8000 "),
        ("inter 100ms", "inter 2s"),
    ):
        assert ours in back
        back = back.replace(ours, theirs)
    assert back == before


def test_a_service_of_another_name_has_files_pools_and_servers_of_that_name(tmp_path: Path) -> None:
    named = _render(haproxy.TEMPLATE.read_text(), search="cart")
    assert "search" not in named
    for word in ("backend cart\n", "/bed/sluice/cart.map", "server cart-stable-1", "state-file-name cart.state"):
        assert word in named
    cases: tuple[tuple[str, Literal["map", "server-weights"]], ...] = (
        ("checkout", "server-weights"),
        ("cart", "map"),
        ("search", "map"),
    )
    for service, mode in cases:
        part = Haproxy(tmp_path, stable_port=1, candidate_port=2, service=service, mode=mode)
        port = part.url.rpartition(":")[2].strip("/")
        assert re.search(rf"frontend {service}\n    bind 127.0.0.1:{port}\n", part.configuration())
        kind = f"backend {service}\n" if mode == "server-weights" else f"backend {service}-stable\n"
        assert kind in part.configuration()
        part.prepare()
        assert (part.folder / f"{service}.map").exists()
        assert (part.route("edge-1")["service"], part.route("edge-1")["mode"]) == (service, mode)


def test_a_template_that_lacks_a_place_is_refused() -> None:
    with pytest.raises(KeyError, match="8081"):
        _render(haproxy.TEMPLATE.read_text().replace("bind :8081", "bind :8082"))


def test_no_retries_beyond_the_default_and_no_hidden_answers_are_configured() -> None:
    assert "retry-on" not in haproxy.TEMPLATE.read_text()


def test_seeds_give_nothing_to_the_candidate() -> None:
    assert "weight 0\n" in (haproxy.SEEDS / "checkout.map").read_text()
    assert (haproxy.SEEDS / "search.state").read_text() == "1\n"
    assert {file.name for file in haproxy.SEEDS.iterdir()} == {"checkout.map", "search.map", "search.state"}


def test_a_long_path_falls_back_to_tcp(tmp_path: Path) -> None:
    part = Haproxy(tmp_path / ("x" * 90), stable_port=1, candidate_port=2)
    assert part.socket == part.tcp_socket
    assert part.configuration().count("stats socket ") == 2


@pytest.mark.server
def test_a_reset_brings_back_what_was_delivered_without_a_restart(tmp_path: Path) -> None:
    stable, candidate = Shop(tmp_path, version="stable"), Shop(tmp_path, version="canary")
    part = Haproxy(tmp_path, stable_port=stable.port, candidate_port=candidate.port, mode="server-weights")
    with stable, candidate, part:
        pid, file = part.pid, part.folder / "checkout.map"
        part.ask(f"add map {file} owner somebody; set server search/search-candidate-1 state maint")
        part.ask("set server search/search-stable-1 weight 7")
        file.write_text("owner somebody\n")
        part.reset()
        assert part.pid == pid
        assert "owner" not in file.read_text() + part.ask(f"show map {file}")
        rows = [line.split()[3:8] for line in part.ask("show servers state search").splitlines()[2:] if line]
        assert rows == [
            ["search-stable-1", "127.0.0.1", "2", "0", "100"],
            ["search-candidate-1", "127.0.0.1", "2", "0", "0"],
        ]
        assert part.settings("edge") == (
            f'[connections.edge]\nkind = "haproxy"\nsocket = "{part.socket}"\nfolder = "{part.folder}"\n'
            'hard_stop_after = "0s"\n'
        )
        part.stop()
        part.reset()  # also while it is away
        part.start()
        assert "[WARNING]" not in part.log.read_text().rpartition("leaving forced maintenance")[2]
