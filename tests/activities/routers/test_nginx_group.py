"""Two real nginx over real SSH that are moved together."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncssh
import httpx
import pytest

from activities.ports import Router
from activities.routers.nginx import NginxRouter
from activities.routers.nginx.connection import NginxConnection
from activities.routers.nginx.include import desired
from activities.shared import Shared
from rollout.errors import Misconfigured, NotPermitted, RouteRejected, RouterUnreachable, Superseded
from testbed.nginx import Nginx
from testbed.programs import Shop
from tests.activities.routers.contract import proven
from tests.activities.routers.nginx_stand import ROUTE, SshHost, TwoServices, listen_too, listening, sharing, to


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Shop]]:
    folder = tmp_path_factory.mktemp("shops")
    with Shop(folder, version="stable") as stable, Shop(folder, version="canary") as candidate:
        yield stable, candidate


@pytest.fixture
def taken_port() -> Iterator[int]:
    with listening() as port:
        yield port


class Group:
    """Two nginx, each behind an SSH server whose home is the nginx's own directory."""

    def __init__(self, nginxes: list[TwoServices], keys: Path, shared: Shared) -> None:
        self.nginxes, self.keys, self.shared = nginxes, keys, shared
        self.machines = [SshHost(nginx.directory, keys) for nginx in nginxes]

    def prepare(self) -> None:
        self.trust(*self.machines)
        for nginx in self.nginxes:
            # Refuses one percent, where a test asks for it, as a machine with another nginx may.
            guard = 'if [ -e refuses ] && grep -q "25.00%" sluice/checkout.conf; then echo refused here >&2; exit 1; fi'
            words = " ".join(nginx.words)
            (nginx.directory / "run").write_text(f'#!/bin/sh\n{guard}\nexec {words} "$@"\n', encoding="utf-8")
            (nginx.directory / "run").chmod(0o755)
            (nginx.directory / "refuses").unlink(missing_ok=True)

    def trust(self, *machines: SshHost) -> None:
        (self.keys / "known").write_text("".join(machine.known for machine in machines), encoding="utf-8")

    def router(self, **changed: object) -> Router:
        hosts = [
            {"name": nginx.name, "ssh": f"ops@127.0.0.1:{machine.port}", "state": nginx.admin_url}
            for nginx, machine in zip(self.nginxes, self.machines, strict=True)
        ]
        settings = {"hosts": hosts, "folder": "sluice", "nginx": ["./run"], "error_log": "error.log"}
        keys = {"ssh_key": self.keys / "key", "known_hosts": self.keys / "known", "timeout_s": 3}
        return NginxRouter(ROUTE, NginxConnection.model_validate({**settings, **keys, **changed}), self.shared)

    def written(self) -> list[bytes]:
        return [nginx.include.read_bytes() for nginx in self.nginxes]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, shops: tuple[Shop, Shop]) -> Iterator[list[TwoServices]]:
    stable, candidate = shops
    folder = tmp_path_factory.mktemp("pair")
    first, second = (
        TwoServices(folder, name=name, stable_port=stable.port, candidate_port=candidate.port) for name in "ab"
    )
    with first, second:
        yield [first, second]


@pytest.fixture
async def group(pair: list[TwoServices], tmp_path: Path) -> AsyncIterator[Group]:
    async with sharing() as shared:
        group = Group(pair, tmp_path, shared)
        mine = asyncssh.generate_private_key("ssh-ed25519")
        mine.write_private_key(str(tmp_path / "key"))
        mine.write_public_key(str(tmp_path / "authorized_keys"))
        for machine in group.machines:
            await machine.start()
        group.prepare()
        for nginx in pair:
            nginx.reset()
        await proven(group.router(), 0)
        yield group
        for machine in group.machines:
            await machine.stop()


async def seen(nginx: Nginx) -> dict[str, object]:
    async with httpx.AsyncClient(trust_env=False) as http:
        return dict((await http.get(f"{nginx.admin_url}/sluice/checkout/state")).json())


@pytest.mark.server
async def test_both_hosts_move_and_come_back_over_ssh(group: Group) -> None:
    router = group.router()
    for epoch, percent in enumerate((5.0, 100.0, 0.0), start=1):
        await router.write(to(percent, epoch))
        state = await proven(router, percent)
        assert state.healthy == {"candidate": 1, "stable": 1}
        assert [(await seen(nginx))["percent"] for nginx in group.nginxes] == [percent, percent]
    with pytest.raises(Superseded):
        await router.write(to(5, 2))
    assert await router.in_flight("stable") is not None


@pytest.mark.server
async def test_one_connection_serves_many_commands(group: Group) -> None:
    for _ in range(3):
        await group.router().read()
    opened = [machine.commands for machine in group.machines]
    assert min(opened) >= 3
    assert len(vars(group.shared)["_made"]) == 2  # one a host, whatever number of adapters


@pytest.mark.server
async def test_where_one_host_refuses_no_host_moves(group: Group) -> None:
    router = group.router()
    await router.write(to(5, 1))
    before = group.written()
    (group.nginxes[1].directory / "refuses").touch()
    with pytest.raises(RouteRejected, match=r"b: .*refused here.*the old include is back on every host"):
        await router.write(to(25, 2))
    assert group.written() == before
    assert (await proven(router, 5)).epoch == 1


@pytest.mark.server
async def test_a_host_that_has_moved_goes_back_where_another_cannot_follow(group: Group, taken_port: int) -> None:
    router = group.router()
    await router.write(to(5, 1))
    before = group.written()
    listen_too(group.nginxes[1], taken_port)
    with pytest.raises(RouteRejected, match=r"b: nginx did not take its new configuration: bind\(\)"):
        await router.write(to(25, 2))
    assert group.written() == before
    assert (await proven(router, 5)).epoch == 1
    assert [(await seen(nginx))["epoch"] for nginx in group.nginxes] == [1, 1]


@pytest.mark.server
async def test_hosts_that_disagree_are_noticed_and_made_equal_by_the_next_write(group: Group) -> None:
    router = group.router()
    await router.write(to(5, 1))
    first = group.nginxes[0]
    text = first.include.read_text(encoding="utf-8")
    first.include.write_text(desired(text, ROUTE, to(25, 2)), encoding="utf-8")
    first.reload()
    state = await router.read()
    assert (state.percent, state.in_force, state.epoch) == (25, None, 1)
    assert state.problem == "the hosts disagree: a 25 %, b 5 %"
    await router.write(to(25, 2))
    assert (await proven(router, 25)).epoch == 2


@pytest.mark.server
async def test_a_host_that_is_away_takes_no_raise_but_the_other_goes_back(group: Group) -> None:
    router = group.router()
    await router.write(to(50, 1))
    before = group.written()
    away = group.machines[1]
    await away.stop()
    with pytest.raises(RouterUnreachable, match=r"b: ops@127\.0\.0\.1"):
        await router.write(to(75, 2))
    assert group.written() == before
    with pytest.raises(RouterUnreachable, match=r"0 % did not reach b: .*; a took it"):
        await router.write(to(0, 3, release=True))
    assert (await seen(group.nginxes[0]))["percent"] == 0
    await away.start()
    await router.write(to(0, 3, release=True))
    assert (await proven(router, 0)).epoch == 3


@pytest.mark.server
async def test_a_host_key_that_nobody_knows_is_never_believed(group: Group) -> None:
    group.trust(group.machines[0])
    fresh = group.router(known_hosts=group.keys / "known", ssh_key=group.keys / "key")
    async with sharing() as shared:
        other = NginxRouter(ROUTE, vars(fresh)["_connection"], shared)
        with pytest.raises(Misconfigured, match=r"b: the host key of .* is not known"):
            await other.read()


@pytest.mark.server
async def test_a_key_that_opens_nothing_is_named(group: Group) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(group.keys / "stranger"))
    with pytest.raises(NotPermitted, match="accepts no key of this worker"):
        await group.router(ssh_key=group.keys / "stranger").read()


@pytest.mark.server
async def test_an_editor_on_the_host_holds_a_write_off(group: Group) -> None:
    pipe = asyncio.subprocess.PIPE
    words = ("flock", "sluice/checkout.conf.lock", "sh", "-c", "echo held; cat")
    holder = await asyncio.create_subprocess_exec(*words, cwd=group.nginxes[0].directory, stdin=pipe, stdout=pipe)
    assert holder.stdout
    await holder.stdout.readline()
    before = group.written()
    try:
        with pytest.raises(RouterUnreachable, match="another process has been editing"):
            await group.router().write(to(5, 1))
        assert group.written() == before
    finally:
        await holder.communicate(b"")
    await group.router().write(to(5, 1))
    await proven(group.router(), 5)
