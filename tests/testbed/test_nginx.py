import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from activities.routers.nginx.connection import NginxConnection
from rollout.routes import NginxRoute
from testbed.nginx import EXAMPLE, Mode, Nginx
from testbed.processes import wait_until
from testbed.programs import Shop
from testbed.template import render

MODES: list[Mode] = ["split-clients", "upstream-weights"]


def test_a_place_that_the_example_has_no_longer_is_named() -> None:
    with pytest.raises(KeyError, match="listen 9"):
        render("listen 8;", {"listen 8;": "listen 7;", "listen 9;": "listen 6;"})


@pytest.mark.parametrize("mode", MODES)
def test_only_places_differ_from_what_operators_copy(tmp_path: Path, mode: Mode) -> None:
    nginx = Nginx(tmp_path, stable_port=3, candidate_port=4, mode=mode)
    nginx.prepare()
    before = (EXAMPLE / "nginx.conf").read_text(encoding="utf-8").splitlines()
    after = nginx.configuration.read_text(encoding="utf-8").splitlines()
    added = ("daemon off;", "master_process on;", "    keepalive_requests 1000000;")
    kept = [line for line in after if line not in added and "_temp_path" not in line]
    changed = [(old.strip(), new.strip()) for old, new in zip(before, kept, strict=True) if old != new]
    assert [old.split()[0] for old, _ in changed] == [
        "user",
        "pid",
        "error_log",
        "access_log",
        "include",
        "listen",
        "listen",
        "include",
    ]
    for file in (EXAMPLE / mode).iterdir():
        seed = file.read_text(encoding="utf-8").replace(":8001", ":3").replace(":8002", ":4")
        assert (nginx.folder / file.name).read_text(encoding="utf-8") == seed


def test_nothing_in_the_example_hides_a_failing_candidate() -> None:
    assert "proxy_next_upstream off;" in (EXAMPLE / "nginx.conf").read_text(encoding="utf-8")
    weights = (EXAMPLE / "upstream-weights" / "checkout.conf").read_text(encoding="utf-8")
    assert weights.count("max_fails=0") == sum(line.strip().startswith("server ") for line in weights.splitlines())


def test_another_service_has_files_and_variables_of_its_own_name(tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, stable_port=3, candidate_port=4, service="search")
    nginx.prepare()
    assert {path.name for path in nginx.folder.iterdir()} == {
        "search.conf",
        "search.locations",
        "search-upstreams.conf",
    }
    written = [nginx.configuration, *nginx.folder.iterdir()]
    directives = [line for path in written for line in path.read_text(encoding="utf-8").splitlines() if "#" not in line]
    assert not any("checkout" in line for line in directives)


@pytest.mark.parametrize("mode", MODES)
def test_worker_and_spec_understand_what_it_offers(tmp_path: Path, mode: Mode) -> None:
    nginx = Nginx(tmp_path, stable_port=3, candidate_port=4, mode=mode)
    table = tomllib.loads(nginx.settings("edge"))["connections"]["edge"]
    connection = NginxConnection.model_validate(table)
    assert connection.hosts[0].state == nginx.admin_url
    assert connection.folder == nginx.folder
    route = NginxRoute.model_validate(nginx.route("edge"))
    assert (route.mode, route.connection, route.header is not None) == (mode, "edge", True)


@pytest.fixture(params=MODES)
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Nginx]:
    stable, candidate = Shop(tmp_path, version="stable"), Shop(tmp_path, version="canary")
    nginx = Nginx(tmp_path, stable_port=stable.port, candidate_port=candidate.port, mode=request.param)
    with stable, candidate, nginx:
        yield nginx


def ask(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False)


def state(nginx: Nginx) -> dict[str, object]:
    return dict(json.loads(ask(f"{nginx.admin_url}/sluice/checkout/state").text))


@pytest.mark.server
def test_it_serves_stable_tells_its_state_and_sees_both_pools(running: Nginx) -> None:
    answer = ask(running.url)
    assert (answer.status_code, answer.headers["X-Version"]) == (200, "stable")
    assert "Set-Cookie" not in answer.headers
    told = state(running)
    assert (told["epoch"], told["percent"], told["owner"]) == (0, 0, None)
    assert int(str(told["pid"])) in running.workers()
    for pool in ("candidate", "stable"):
        seen = ask(f"{running.admin_url}/sluice/checkout/{pool}/ready")
        assert (seen.status_code, seen.headers["X-Sluice-Pool"]) == (200, f"checkout-{pool}")
    drawn = ask(f"{running.admin_url}/sluice/checkout/drawn")
    assert (drawn.status_code, drawn.headers["X-Sluice-Pool"]) == (200, told["pool"])


@pytest.mark.server
def test_a_reset_brings_the_seed_back_and_a_kill_leaves_nobody(running: Nginx) -> None:
    seed = running.include.read_text(encoding="utf-8")
    changed = seed.replace('"percent":0', '"percent":7')
    running.include.write_text(changed, encoding="utf-8")
    running.reload()
    assert state(running)["percent"] == 7
    running.reset()
    assert state(running)["percent"] == 0
    assert running.include.read_text(encoding="utf-8") == seed
    workers = running.workers()
    assert workers
    running.kill()
    wait_until(
        lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in workers), within_s=5, what="the workers are gone"
    )
    running.start()
    assert ask(running.url).status_code == 200
