"""The real nginx where it goes wrong, and several of them over real SSH."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from activities.ports import Write
from activities.routers.nginx import NginxRouter
from activities.routers.nginx.connection import NginxConnection
from activities.routers.nginx.include import desired
from rollout.errors import Misconfigured, RouteOwned, RouteRejected
from rollout.routes import NginxRoute
from testbed.parts import binary
from testbed.programs import Shop
from tests.activities.routers.cancelled_contract import CancelledContract
from tests.activities.routers.contract import OWNER, canaries, proven, until
from tests.activities.routers.nginx_stand import (
    ROUTE,
    NginxStand,
    TwoServices,
    listen_too,
    listening,
    sharing,
    standing,
    to,
)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Shop]]:
    folder = tmp_path_factory.mktemp("shops")
    with Shop(folder, version="stable") as stable, Shop(folder, version="canary") as candidate:
        yield stable, candidate


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, shops: tuple[Shop, Shop]) -> Iterator[TwoServices]:
    stable, candidate = shops
    folder = tmp_path_factory.mktemp("edge")
    with TwoServices(folder, stable_port=stable.port, candidate_port=candidate.port) as nginx:
        yield nginx


@pytest.fixture
async def stand(nginx: TwoServices) -> AsyncIterator[NginxStand]:
    async with standing(nginx) as stand:
        yield stand


@pytest.fixture
def taken_port() -> Iterator[int]:
    with listening() as port:
        yield port


@pytest.mark.server
async def test_a_reload_that_succeeds_and_changes_nothing_is_found_and_undone(
    stand: NginxStand, taken_port: int
) -> None:
    router = stand.router()
    await router.write(to(5, 1))
    listen_too(stand.nginx, taken_port)
    with pytest.raises(RouteRejected, match=r"bind\(\).*Address already in use.*the old include is back"):
        await router.write(to(25, 2))
    state = await proven(router, 5)
    assert (state.epoch, state.owner) == (1, OWNER)


@pytest.mark.server
async def test_without_a_log_such_a_reload_is_undone_after_its_time(stand: NginxStand, taken_port: int) -> None:
    router = NginxRouter(ROUTE, stand.connection(error_log=None, timeout_s=1), stand.shared)
    await router.write(to(5, 1))
    listen_too(stand.nginx, taken_port)
    with pytest.raises(RouteRejected, match="still has the configuration before"):
        await router.write(to(25, 2))
    assert (await proven(router, 5)).epoch == 1


@pytest.mark.server
async def test_the_way_back_stays_written_where_nginx_cannot_take_it_yet(stand: NginxStand, taken_port: int) -> None:
    router = stand.router()
    await router.write(to(50, 1))
    good = stand.nginx.configuration.read_text(encoding="utf-8")
    listen_too(stand.nginx, taken_port)
    with pytest.raises(RouteRejected, match=r"0 % did not reach edge.*bind\(\)"):
        await router.write(to(0, 2, release=True))
    state = await router.read()
    assert (state.in_force, state.epoch) == (None, 1)
    assert state.problem == "edge: nginx shows epoch 1 with 50 %, checkout.conf says epoch 2 with 0 %"
    stand.nginx.configuration.write_text(good, encoding="utf-8")
    stand.nginx.reload()
    assert (await proven(router, 0)).epoch == 2
    assert await canaries(stand, 20) == 0


@pytest.mark.server
async def test_the_way_back_stays_written_where_the_rest_of_the_configuration_is_broken(stand: NginxStand) -> None:
    router = stand.router()
    await router.write(to(50, 1))
    await stand.spoil()
    with pytest.raises(RouteRejected, match="nonsense"):
        await router.write(to(0, 2))
    assert "checkout-candidate" not in stand.nginx.include.read_text(encoding="utf-8").split("pool {")[0]
    stand.nginx.prepare()
    stand.nginx.reload()
    await proven(router, 0)


@pytest.mark.server
async def test_an_include_that_nobody_reloaded_is_not_in_force_and_the_same_write_reloads_it(
    stand: NginxStand,
) -> None:
    router = stand.router()
    await router.write(to(5, 1))
    await proven(router, 5)
    text = stand.nginx.include.read_text(encoding="utf-8")
    stand.nginx.include.write_text(desired(text, ROUTE, to(25, 2)), encoding="utf-8")
    state = await router.read()
    assert (state.percent, state.in_force, state.epoch) == (25, None, 1)  # the epoch says: write it again
    await router.write(to(25, 2))
    assert (await proven(router, 25)).epoch == 2


@pytest.mark.server
async def test_an_old_worker_that_still_accepts_is_no_proof(stand: NginxStand) -> None:
    router = NginxRouter(ROUTE, stand.connection(timeout_s=0.5), stand.shared)
    frozen = min(stand.nginx.workers())
    os.kill(frozen, signal.SIGSTOP)
    try:
        await router.write(to(25, 1))
        state = await router.read()
        assert (state.percent, state.in_force) == (25, None)
        assert state.problem == f"edge: old workers still accept requests: process {frozen}"
    finally:
        os.kill(frozen, signal.SIGCONT)
    await proven(router, 25)


@pytest.mark.server
async def test_a_pool_that_does_not_answer_has_no_healthy_member(stand: NginxStand, shops: tuple[Shop, Shop]) -> None:
    _, candidate = shops
    candidate.stop()
    try:
        assert (await stand.router().read()).healthy == {"candidate": 0, "stable": 1}
    finally:
        candidate.start()
    assert (await stand.router().read()).healthy == {"candidate": 1, "stable": 1}


@pytest.mark.server
async def test_a_candidate_that_hangs_does_not_hide_that_traffic_is_back(
    stand: NginxStand, shops: tuple[Shop, Shop]
) -> None:
    _, candidate = shops
    router = stand.router()
    await router.write(to(50, 1))
    candidate.pause()
    try:
        await router.write(to(0, 2, release=True))
        await stand.spoil()
        assert (await proven(router, 0)).healthy == {"candidate": 0, "stable": 1}
    finally:
        candidate.resume()


@pytest.mark.server
async def test_old_workers_that_finish_requests_are_counted(stand: NginxStand, shops: tuple[Shop, Shop]) -> None:
    stable, _ = shops
    router = stand.router()

    async def nobody_is_leaving() -> bool:
        return await router.in_flight("stable") == 0

    await until(nobody_is_leaving)
    stable.fault(latency_ms=1500)
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            slow = asyncio.ensure_future(http.get(stand.url))
            await asyncio.sleep(0.2)
            await router.write(to(100, 1))
            assert await router.in_flight("stable") == 1
            assert (await slow).status_code == 200
    finally:
        stable.fault(latency_ms=0)
    await until(nobody_is_leaving)


@pytest.mark.server
async def test_an_owner_of_any_letters_comes_back_as_written(stand: NginxStand) -> None:
    owner = "rollout:é\"'$pid \\ \\n ${x}; }\t#"
    router = stand.router()
    await router.write(Write(percent=5, epoch=1, owner=owner))
    assert (await proven(router, 5)).owner == owner
    with pytest.raises(RouteOwned):
        await router.write(to(25, 2))


@pytest.mark.server
@pytest.mark.parametrize("file", sorted((Path(__file__).parent / "nginx").glob("*.conf")), ids=lambda file: file.stem)
def test_a_real_nginx_accepts_every_golden_include(file: Path, tmp_path: Path) -> None:
    include = file.read_text(encoding="utf-8").replace("least_conn;", "")
    pools = "" if "upstream " in include else "".join(f"upstream {name} {{ server 127.0.0.1:1; }}\n" for name in "ab")
    places = "pid nginx.pid;\nerror_log error.log;\nevents {}\n"
    (tmp_path / "nginx.conf").write_text(f"{places}http {{\naccess_log off;\n{pools}{include}\n}}\n", encoding="utf-8")
    words = [str(binary("nginx")), "-p", str(tmp_path), "-e", "error.log", "-c", "nginx.conf", "-t"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.server
async def test_mode_stays_and_only_our_own_files_are_added(stand: NginxStand) -> None:
    before = {path.name for path in stand.nginx.folder.iterdir()}
    stand.nginx.include.chmod(0o640)
    await stand.router().write(to(5, 1))
    assert stand.nginx.include.stat().st_mode & 0o777 == 0o640
    after = {path.name for path in stand.nginx.folder.iterdir()}
    assert after - before == {
        ".checkout.conf.old",
        ".checkout.conf.before",
        ".checkout.conf.good",
        ".checkout.conf.lock",
        "checkout.conf.lock",
    }


@pytest.mark.server
async def test_a_symbolic_link_stays_one(stand: NginxStand, tmp_path: Path) -> None:
    real = tmp_path / "real.conf"
    stand.nginx.include.rename(real)
    stand.nginx.include.symlink_to(real)
    await stand.router().write(to(5, 1))
    assert stand.nginx.include.is_symlink()
    assert "5.00%" in real.read_text(encoding="utf-8")


@pytest.mark.server
class TestCancelled(CancelledContract):
    """With the `stand` of this module."""


@pytest.mark.server
async def test_what_is_missing_is_named(stand: NginxStand, tmp_path: Path) -> None:
    nowhere = NginxRouter(ROUTE, stand.connection(folder=tmp_path), stand.shared)
    with pytest.raises(Misconfigured, match=r"edge: .*checkout\.conf is missing"):
        await nowhere.write(to(0, 1))
    no_nginx = NginxRouter(ROUTE, stand.connection(nginx=("no-such-nginx",)), stand.shared)
    with pytest.raises(Misconfigured, match="edge has no command no-such-nginx"):
        await no_nginx.write(to(5, 1))
    unknown = NginxRoute(connection="edge", service="nobody", candidate="x", stable="y")
    with pytest.raises(Misconfigured, match="must be http"):
        NginxRouter(ROUTE, stand.connection(hosts=({"name": "a", "state": "https://a"},)), stand.shared)
    with pytest.raises(Misconfigured, match="does not tell the state"):
        await NginxRouter(unknown, stand.connection(), stand.shared).read()


async def test_two_hosts_of_one_machine_are_refused() -> None:
    hosts = [{"name": name, "state": "http://127.0.0.1:1"} for name in ("a", "b")]
    connection = NginxConnection.model_validate({"hosts": hosts, "folder": "/tmp"})  # noqa: S108 - never touched
    async with sharing() as shared:
        with pytest.raises(Misconfigured, match="a and b share this machine"):
            NginxRouter(ROUTE, connection, shared)
