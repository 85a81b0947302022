"""An API server that is away, hangs, or is not the one that answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from activities.kubernetes import DEPLOYMENT, POD, Cluster, Json, KubernetesConnection, rewrite
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable, SluiceError, Throttled
from testbed.kubernetes import ControlPlane, objects
from testbed.processes import wait_until_async
from tests.activities.kubernetes.bed import kubeconfig_of, opened, proxy

pytestmark = pytest.mark.server


async def test_an_api_server_that_was_killed_is_told_and_used_again_by_itself(
    control_plane: ControlPlane, cluster: Cluster, namespace: str
) -> None:
    assert await cluster.get(DEPLOYMENT, namespace, "shop") is None
    control_plane.kill_api()
    try:
        for ask in (cluster.get(DEPLOYMENT, namespace, "shop"), cluster.patch(DEPLOYMENT, namespace, "shop", [])):
            with pytest.raises(RouterUnreachable, match=r"API server did not answer \w+ Deployment .*/shop"):
                await ask
    finally:
        control_plane.start_api()

    async def answers() -> bool:
        try:
            return await cluster.get(DEPLOYMENT, namespace, "shop") is None
        except SluiceError:
            return False

    await wait_until_async(answers, within_s=60, what="it answers again")


def stopped(pid: int) -> bool:
    """Whether every thread of a process stands still."""
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()]
    return set(states) == {"T"}


async def test_an_api_server_that_hangs_is_told_in_time_and_used_again_by_itself(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.api.create(objects.deployment("shop", replicas=0), namespace)
    async with opened(control_plane.kubeconfig, timeout_s=1) as cluster:
        assert await cluster.get(DEPLOYMENT, namespace, "shop")
        control_plane.server.pause()
        try:
            await wait_until_async(
                lambda: stopped(control_plane.server.pid), within_s=10, what="all of it stands still"
            )
            asked = [cluster.get(DEPLOYMENT, namespace, f"shop-{n}") for n in range(40)]  # more than there are threads
            ends = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(end) for end in ends} == {RouterUnreachable}
        finally:
            control_plane.server.resume()

        async def answers() -> bool:
            try:
                return await cluster.get(DEPLOYMENT, namespace, "shop") is not None
            except RouterUnreachable:
                return False

        await wait_until_async(answers, within_s=60, what="it answers again")


@asynccontextmanager
async def hanging(free: asyncio.Event) -> AsyncIterator[str]:
    """An API server that answers about Deployments at once, and about Pods when it is set free."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = [line for line in head.lower().splitlines() if line.startswith(b"content-length:")]
                if length:
                    await reader.readexactly(int(length[0].split(b":")[1]))
                if b"/pods" in head.splitlines()[0]:
                    await free.wait()
                found = {"kind": "Deployment", "metadata": {"name": "shop", "resourceVersion": "7"}, "items": []}
                body = json.dumps(found).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        free.set()
        server.close()


async def test_a_write_does_not_queue_behind_reads_that_hang(tmp_path: Path) -> None:
    free = asyncio.Event()

    async def change(found: Json) -> list[Json]:
        return [{"op": "replace", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]}]

    async with hanging(free) as url, opened(kubeconfig_of(tmp_path / "kubeconfig", url), timeout_s=60) as cluster:
        reads = [asyncio.ensure_future(cluster.every(POD, "shop", f"n={n}")) for n in range(40)]
        # They are not set free before it is through.
        assert (await rewrite(cluster, DEPLOYMENT, ("shop", "shop"), change))["metadata"]["name"] == "shop"
        assert not any(read.done() for read in reads)
        free.set()
        assert await asyncio.gather(*reads) == [[]] * 40


async def test_a_cluster_that_hangs_blinds_nobody_who_looks_at_another(tmp_path: Path) -> None:
    free = asyncio.Event()
    async with hanging(free) as url:
        file = kubeconfig_of(tmp_path / "kubeconfig", url)
        async with opened(file, timeout_s=60) as one, opened(file, timeout_s=60) as other:
            reads = [asyncio.ensure_future(one.every(POD, "shop", f"n={n}")) for n in range(40)]
            assert await other.get(DEPLOYMENT, "shop", "shop")
            assert not any(read.done() for read in reads)
            free.set()
            await asyncio.gather(*reads)


async def test_what_has_not_begun_when_the_worker_ends_is_dropped(tmp_path: Path) -> None:
    free = asyncio.Event()
    async with hanging(free) as url:
        cluster = Cluster(KubernetesConnection(kubeconfig=kubeconfig_of(tmp_path / "kubeconfig", url), timeout_s=60))
        reads = [asyncio.ensure_future(cluster.every(POD, "shop", f"n={n}")) for n in range(40)]
        await cluster.get(DEPLOYMENT, "shop", "shop", urgent=True)
        await cluster.aclose()
        free.set()
        ends = await asyncio.gather(*reads, return_exceptions=True)
        assert {type(end) for end in ends} <= {list, asyncio.CancelledError}


STATUS = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
ANSWERS: list[tuple[int, str | dict[str, Any], type[SluiceError], str]] = [
    (200, "<html>log in</html>", RouterUnreachable, "is no JSON object"),
    (200, "[1]", RouterUnreachable, "list instead of an object"),
    (302, "", Misconfigured, r"refused \(302\)"),
    (404, "<html>no such page</html>", RouterUnreachable, "somebody else than the API server answers"),
    (404, "404 page not found\n", Misconfigured, "does not know the kind"),
    (401, "<html>log in</html>", NotPermitted, "renew them"),
    (429, {**STATUS, "message": "too many requests"}, Throttled, "asked too often"),
    (503, "<html>bad gateway</html>", RouterUnreachable, "503"),
    (500, {**STATUS, "message": "etcdserver: request timed out"}, RouterUnreachable, "etcdserver: request timed out"),
    (504, {**STATUS, "message": "Timeout: request did not complete"}, RouterUnreachable, "did not complete"),
]


@pytest.mark.parametrize(("status", "body", "error", "words"), ANSWERS)
async def test_what_is_no_answer_of_an_api_server_has_the_right_name(
    tmp_path: Path, status: int, body: str | dict[str, Any], error: type[SluiceError], words: str
) -> None:
    with proxy(status, body) as url:
        async with opened(kubeconfig_of(tmp_path / "kubeconfig", url)) as cluster:
            for ask in (cluster.get(DEPLOYMENT, "shop", "shop"), cluster.patch(DEPLOYMENT, "shop", "shop", [])):
                with pytest.raises(error, match=words) as refused:
                    await ask
                assert type(refused.value) is error
