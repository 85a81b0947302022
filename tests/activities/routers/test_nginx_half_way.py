"""A real nginx and real commands whose caller goes away, is overtaken, or finds the include broken."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncssh
import pytest

from activities.finishing import all_finished
from activities.routers.nginx import NginxRouter
from activities.routers.nginx.connection import NginxConnection, NginxHost
from activities.routers.nginx.host import Host
from activities.routers.nginx.include import desired
from activities.routers.nginx.machine import SshMachine, ThisMachine
from rollout.errors import Misconfigured, RouterUnreachable
from rollout.routes import NginxRoute
from testbed.programs import Shop
from tests.activities.routers.contract import canaries, proven, until
from tests.activities.routers.nginx_stand import NginxStand, SshHost, TwoServices, standing, to


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An include `old`, and an nginx that thinks as long as there is a file `think`, and refuses `BAD`."""
    (tmp_path / "checkout.conf").write_text("old", encoding="utf-8")
    think = "touch asked; while [ -e think ]; do sleep 0.05; done; ! grep -q BAD checkout.conf"
    (tmp_path / "nginx").write_text(f'#!/bin/sh\ncd "{tmp_path}"\n{think}\n', encoding="utf-8")
    (tmp_path / "nginx").chmod(0o755)
    (tmp_path / "think").touch()
    return tmp_path


def host(folder: Path, machine: ThisMachine | SshMachine, timeout_s: float = 5) -> Host:
    edge = NginxHost(name="edge", state="http://127.0.0.1:1")
    words = (str(folder / "nginx"),)
    return Host(
        edge, NginxConnection(hosts=(edge,), folder=folder, nginx=words, timeout_s=timeout_s), "checkout", machine
    )


def include(folder: Path) -> str:
    return (folder / "checkout.conf").read_text(encoding="utf-8")


async def asked(folder: Path) -> None:
    async def seen() -> bool:
        return (folder / "asked").exists()

    await until(seen)


async def becomes(folder: Path, text: str) -> None:
    async def is_text() -> bool:
        return include(folder) == text

    await until(is_text)


async def test_a_put_whose_caller_is_cancelled_takes_a_refused_include_back(folder: Path) -> None:
    putting = asyncio.ensure_future(host(folder, ThisMachine()).put("BAD", over="old", keep=False))
    await asked(folder)
    assert include(folder) == "BAD"
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    (folder / "think").unlink()
    await becomes(folder, "old")
    assert await all_finished(5) == 0


_WORKER = """
import asyncio, sys
from pathlib import Path
from activities.routers.nginx.machine import ThisMachine
from tests.activities.routers.test_nginx_half_way import asked, host

async def main():
    folder = Path(sys.argv[1])
    putting = asyncio.ensure_future(host(folder, ThisMachine()).put("BAD", over="old", keep=False))
    await asked(folder)

asyncio.run(main())
"""


async def test_a_put_whose_worker_ends_takes_a_refused_include_back(folder: Path) -> None:
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", _WORKER, str(folder)], check=True)
    assert include(folder) == "BAD"
    (folder / "think").unlink()
    await becomes(folder, "old")


@pytest.mark.parametrize("what", ["put", "reload"])
async def test_what_comes_after_somebody_elses_change_does_nothing(folder: Path, what: str) -> None:
    (folder / "think").unlink()
    (folder / "checkout.conf").write_text("theirs", encoding="utf-8")
    edge = host(folder, ThisMachine())
    with pytest.raises(RouterUnreachable, match=r"checkout\.conf could not be .*somebody else has changed it"):
        await (edge.put("mine", over="old", keep=True) if what == "put" else edge.reload("old"))
    assert include(folder) == "theirs"
    assert not (folder / "asked").exists()


# ── Over SSH ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def ssh(folder: Path) -> AsyncIterator[SshMachine]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(folder / "key"))
    key.write_public_key(str(folder / "authorized_keys"))
    server = SshHost(folder, folder)
    await server.start()
    (folder / "known").write_text(server.known, encoding="utf-8")
    name = f"ops@127.0.0.1:{server.port}"
    edge = NginxHost(name="edge", ssh=name, state="http://127.0.0.1:1")
    connection = NginxConnection(
        hosts=(edge,), folder=folder, timeout_s=2, ssh_key=folder / "key", known_hosts=folder / "known"
    )
    machine = SshMachine(name, connection)
    yield machine
    (folder / "think").unlink(missing_ok=True)
    await machine.aclose()

    async def nothing_runs() -> bool:
        return server.ended == server.commands

    await until(nothing_runs)
    await server.stop()


async def test_a_slow_command_does_not_take_those_of_others_along(ssh: SshMachine, folder: Path) -> None:
    waits = "touch asked; while [ -e think ]; do sleep 0.05; done; echo done"
    async with ssh.alone(str(folder / "search.conf")):
        other = asyncio.ensure_future(ssh.run(waits, within_s=20))
        await asked(folder)
        with pytest.raises(RouterUnreachable, match="did not finish a command: TimeoutError"):
            await ssh.run(waits, within_s=0.2)
        (folder / "think").unlink()
        assert (await other).out == b"done\n"


async def test_a_connection_that_is_dead_is_opened_again(ssh: SshMachine) -> None:
    await ssh.run(":", within_s=2)
    before = vars(ssh)["_open"]
    before.abort()
    with pytest.raises(RouterUnreachable):
        await ssh.run("exit 0; echo $PPID", within_s=0)
    assert (await ssh.run("echo again", within_s=2)).out == b"again\n"
    assert vars(ssh)["_open"] is not before


async def test_a_late_put_and_the_next_writer_do_not_mix(ssh: SshMachine, folder: Path) -> None:
    """The first one's caller has given up, and its lock is gone; it goes on all the same."""
    edge = host(folder, ssh, timeout_s=0.2)
    with pytest.raises(RouterUnreachable, match="did not finish a command"):
        async with edge.alone():
            await edge.put("BAD", over="old", keep=False)
    assert include(folder) == "BAD"
    async with edge.alone():
        next_one = asyncio.ensure_future(host(folder, ssh).put("next", over="BAD", keep=True))
        await asyncio.sleep(0.2)
        assert include(folder) == "BAD"  # it waits
        (folder / "think").unlink()
        with pytest.raises(RouterUnreachable, match="somebody else has changed it meanwhile"):
            await next_one
        assert include(folder) == "old"
        await host(folder, ssh).put("next", over="old", keep=True)
    assert include(folder) == "next"


# ── A real nginx ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, TwoServices]]:
    folder = tmp_path_factory.mktemp("edge")
    with Shop(folder, version="stable") as stable, Shop(folder, version="canary") as candidate:
        split = TwoServices(folder, stable_port=stable.port, candidate_port=candidate.port)
        weights = TwoServices(
            folder, stable_port=stable.port, candidate_port=candidate.port, mode="upstream-weights", name="weights"
        )
        with split, weights:
            yield {"split": split, "weights": weights}


@pytest.fixture
async def split(edges: dict[str, TwoServices]) -> AsyncIterator[NginxStand]:
    async with standing(edges["split"]) as stand:
        yield stand
    edges["split"].prepare()


@pytest.fixture
async def weights(edges: dict[str, TwoServices]) -> AsyncIterator[NginxStand]:
    async with standing(edges["weights"]) as stand:
        yield stand
    edges["weights"].prepare()


@pytest.mark.server
async def test_the_way_back_is_made_of_the_last_good_include_where_somebody_has_broken_it(weights: NginxStand) -> None:
    router = weights.router()
    await router.write(to(50, 1))
    with weights.nginx.include.open("a", encoding="utf-8") as file:
        file.write('\nfoo "bar')
    with pytest.raises(Misconfigured):
        await router.read()
    await router.write(to(0, 2, release=True))
    assert (await proven(router, 0)).epoch == 2
    assert await canaries(weights, 20) == 0


@pytest.mark.server
async def test_the_candidates_old_address_gets_nobody_after_the_way_back(weights: NginxStand) -> None:
    router = weights.router()
    await router.write(to(50, 1))
    head, rest = weights.nginx.include.read_text(encoding="utf-8").split("upstream checkout-candidate", 1)
    moved = rest.replace("127.0.0.1", "127.0.0.2", 1)
    weights.nginx.include.write_text(f"{head}upstream checkout-candidate{moved}", encoding="utf-8")
    weights.nginx.reload()
    state = await router.read()
    assert (state.percent, state.in_force) == (50, None)
    await router.write(to(0, 2, release=True))
    await proven(router, 0)
    assert await canaries(weights, 40) == 0


@pytest.mark.server
async def test_visitors_that_no_split_leads_are_told_before_the_start_and_stop_a_raise(split: NginxStand) -> None:
    text = split.nginx.configuration.read_text(encoding="utf-8")
    fixed = text.replace("proxy_pass http://$sluice_checkout_pool;", "proxy_pass http://checkout-candidate;")
    split.nginx.configuration.write_text(fixed, encoding="utf-8")
    split.nginx.reload()
    blind = split.connection(hosts=(NginxHost(name="edge", state=split.nginx.admin_url),))
    router = NginxRouter(split_route(), blind, split.shared)
    said = "sends no visitor where Sluice says: write `proxy_pass http://$sluice_checkout_pool;`"
    state = await router.read()
    assert state.problem is not None
    assert said in state.problem
    before = split.written()
    with pytest.raises(Misconfigured, match="sends no visitor where Sluice says"):
        await router.write(to(5, 1))
    assert split.written() == before
    await router.write(to(0, 1, release=True))  # the way back is not held up
    assert (await router.read()).in_force == 0


@pytest.mark.server
@pytest.mark.parametrize("passed", ["checkout-candidate", "checkout-stable"])
async def test_a_server_of_visitors_that_goes_elsewhere_is_no_proof(split: NginxStand, passed: str) -> None:
    router = split.router()
    text = split.nginx.configuration.read_text(encoding="utf-8")
    fixed = text.replace("proxy_pass http://$sluice_checkout_pool;", f"proxy_pass http://{passed};")
    changed = fixed.replace("X-Sluice-Pool $sluice_checkout_pool always", f"X-Sluice-Pool {passed} always")
    split.nginx.configuration.write_text(changed, encoding="utf-8")
    split.nginx.reload()
    if passed == "checkout-stable":
        text = desired(split.nginx.include.read_text(encoding="utf-8"), split_route(), to(100, 1))
        split.nginx.include.write_text(text, encoding="utf-8")
        split.nginx.reload()
    state = await router.read()
    assert state.in_force is None
    assert state.problem is not None
    assert f"a visitor was sent to {passed}" in state.problem


@pytest.mark.server
async def test_visitors_that_get_no_header_are_no_proof(split: NginxStand) -> None:
    assert (await split.router().read()).in_force == 0
    text = split.nginx.configuration.read_text(encoding="utf-8")
    line = "add_header X-Sluice-Pool $sluice_checkout_pool always;"
    assert line in text
    split.nginx.configuration.write_text(text.replace(line, ""), encoding="utf-8")
    split.nginx.reload()
    state = await split.router().read()
    assert state.in_force is None
    assert state.problem is not None
    assert "visitors get no header X-Sluice-Pool" in state.problem


def split_route() -> NginxRoute:
    return NginxRoute(connection="edge", service="checkout")
