"""Envoy with weights in its runtime, against the contract suites and what is special about it."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from activities.ports import Write
from activities.routers.envoy.connection import EnvoyConnection
from activities.routers.envoy.layer import RuntimeLayer
from activities.routers.envoy.runtime import EnvoyRuntimeRouter
from rollout.errors import Misconfigured, NotPermitted
from rollout.routes import ForcedHeader
from testbed.programs import Shop
from tests.activities.routers.cancelled_contract import CancelledContract
from tests.activities.routers.contract import (
    OWNER,
    ForcedHeaderContract,
    InFlightContract,
    RestartContract,
    RouterContract,
    canaries,
    proven,
    until,
)
from tests.activities.routers.envoy_gate import read_only
from tests.activities.routers.envoy_stand import RuntimeEnvoy, RuntimeStand, route_of
from tests.activities.routers.envoy_standing import serving, standing

Parts = tuple[RuntimeEnvoy, Shop]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with serving(tmp_path_factory.mktemp("runtime"), RuntimeEnvoy) as parts:
        yield parts


@pytest.fixture
async def stand(parts: Parts) -> AsyncIterator[RuntimeStand]:
    async with standing(RuntimeStand, parts) as stand:
        yield stand


@pytest.mark.server
class TestEnvoyRuntime(RouterContract, ForcedHeaderContract, RestartContract, InFlightContract, CancelledContract):
    async def test_an_override_by_hand_is_named_and_counts_as_written(self, stand: RuntimeStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await stand.drift(40)
        state = await router.read()
        assert (state.percent, state.in_force, state.epoch, state.owner) == (40, None, 1, OWNER)
        assert state.problem is not None
        assert "runtime layer admin overrides sluice.checkout.checkout-candidate with 4000" in state.problem

    @pytest.mark.parametrize("key", ["checkout-candidate", "forced", "epoch"])
    async def test_an_override_with_the_very_value_in_force_is_drift_too(self, stand: RuntimeStand, key: str) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        shown = (await stand.shown())["entries"][f"sluice.checkout.{key}"]["final_value"]
        await stand.modify({f"sluice.checkout.{key}": shown})  # it would outlive the next write
        state = await router.read()
        assert (state.percent, state.in_force) == (5, None)
        await router.write(Write(percent=25, epoch=2, owner=OWNER))
        await proven(router, 25)

    async def test_a_mark_by_hand_fences_nobody_off(self, stand: RuntimeStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await stand.modify({"sluice.checkout.epoch": "99", "sluice.checkout.owner": "me"})
        state = await router.read()
        assert (state.percent, state.in_force, state.epoch, state.owner) == (5, None, 1, OWNER)
        await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        assert (await proven(router, 0)).owner is None

    async def test_the_same_write_again_takes_an_override_away(self, stand: RuntimeStand) -> None:
        router, write = stand.router(), Write(percent=5, epoch=1, owner=OWNER)
        await router.write(write)
        before = stand.written()
        await stand.drift(40)
        await router.write(write)
        await proven(router, 5)
        assert stand.written() == before

    async def test_the_first_write_of_all_makes_the_symlink(self, stand: RuntimeStand) -> None:
        stand.stop()
        (stand.envoy.runtime / "checkout").unlink()
        stand.start()
        router = stand.router()
        state = await router.read()
        assert (state.percent, state.in_force, state.epoch, state.problem) == (0, 0, 0, None)
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        await proven(router, 100)
        assert await canaries(stand, 10) == 10

    async def test_a_few_old_versions_are_kept_and_anybody_may_read_them(self, stand: RuntimeStand) -> None:
        router, other = stand.router(), stand.other_router()
        await other.write(Write(percent=5, epoch=1, owner=OWNER))
        mask = os.umask(0o077)
        try:
            for epoch in range(1, 9):
                await router.write(Write(percent=epoch, epoch=epoch, owner=OWNER))
        finally:
            os.umask(mask)
        versions = [
            path for path in stand.envoy.runtime.iterdir() if path.name.startswith(".checkout.") and path.is_dir()
        ]
        assert len(versions) == 4
        current = stand.envoy.runtime / "checkout"
        assert current.readlink().name in {path.name for path in versions}
        assert current.stat().st_mode & 0o777 == 0o755
        assert {path.stat().st_mode & 0o777 for path in current.iterdir()} == {0o644}
        await proven(other, 5)

    async def test_the_way_back_is_written_although_the_admin_interface_is_closed(self, stand: RuntimeStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        await proven(router, 100)
        with stand.gate.letting("closed"):
            await router.write(Write(percent=0, epoch=2, owner=OWNER))
            with pytest.raises(NotPermitted, match="/runtime with 403"):
                await router.read()

            async def nobody_is_left() -> bool:
                return await canaries(stand, 10) == 0

            await until(nobody_is_left)
        await proven(router, 0)

    async def test_a_frozen_envoy_does_not_stop_the_way_back(self, stand: RuntimeStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        stand.envoy.pause()
        try:
            async with asyncio.timeout(2):
                await router.write(Write(percent=0, epoch=2, owner=OWNER))
        finally:
            stand.envoy.resume()
        await proven(router, 0)
        assert await canaries(stand, 10) == 0

    async def test_values_that_envoy_cannot_see_are_not_in_force(self, stand: RuntimeStand, tmp_path: Path) -> None:
        router = stand.made(route_of(), folder=tmp_path)
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        state = await router.read()
        assert (state.percent, state.in_force) == (5, None)
        assert state.problem is not None
        assert "shows sluice.checkout.checkout-candidate: nothing" in state.problem

    async def test_a_service_without_a_layer_gets_the_lines_to_add(self, stand: RuntimeStand) -> None:
        router = stand.made(route_of("search"))
        problem = (await router.read()).problem
        assert problem is not None
        assert "no route configuration search" in problem
        with pytest.raises(Misconfigured, match=r"add under layered_runtime.layers: \{name: sluice-search, disk_layer"):
            await router.write(Write(percent=5, epoch=1, owner=OWNER))
        assert not (stand.envoy.runtime / "search").exists()

    async def test_a_header_that_the_operators_rules_do_not_have_gets_the_line_to_add(
        self, stand: RuntimeStand
    ) -> None:
        router = stand.made(route_of(header=ForcedHeader(name="X-Beta")))
        state = await router.read()
        assert state.in_force == 0  # the way back does not depend on it
        assert state.problem is not None
        assert '"name": "x-beta"' in state.problem
        with pytest.raises(Misconfigured, match="has no forced-header rule for checkout-candidate"):
            await router.write(Write(percent=5, epoch=1, owner=OWNER))

    async def test_a_spec_without_a_header_leaves_the_rules_asleep(self, stand: RuntimeStand) -> None:
        router = stand.made(route_of(header=None))
        await router.write(Write(percent=0, epoch=1, owner=OWNER))
        assert not (await proven(router, 0)).forced
        assert await canaries(stand, 5, {"X-Canary": "true"}) == 0

    async def test_no_two_services_swap_at_the_same_time(self, stand: RuntimeStand) -> None:
        router, before = stand.router(), stand.written()
        async with RuntimeLayer(stand.folder, "cart").swapping():
            writing = asyncio.ensure_future(router.write(Write(percent=5, epoch=1, owner=OWNER)))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(writing), 0.2)
            assert stand.written() == before
        await writing
        await proven(router, 5)

    async def test_strange_owners_come_back_as_they_were(self, stand: RuntimeStand) -> None:
        router = stand.router()
        for epoch, owner in enumerate(("# rollout", " a: b ", "7", "über/ Zeile\nzwei", "%41"), start=1):
            await router.write(Write(percent=5, epoch=epoch, owner=owner))
            assert (await proven(router, 5)).owner == owner
            await router.write(Write(percent=5, epoch=epoch, owner=owner, release=True))


@pytest.mark.server
async def test_a_layer_that_envoy_may_not_read_is_named(stand: RuntimeStand) -> None:
    """Root reads everything, so Envoy is shown a layer that is no folder instead."""
    router = stand.router()
    await router.write(Write(percent=5, epoch=1, owner=OWNER))
    await proven(router, 5)
    fresh = stand.envoy.runtime / ".operator"
    fresh.symlink_to("nowhere")
    fresh.rename(stand.envoy.runtime / "checkout")

    async def gone() -> bool:
        return "sluice-checkout" not in (await stand.shown())["layers"]

    await until(gone)
    state = await router.read()
    assert (state.percent, state.in_force, state.epoch) == (0, 0, 0)  # what Envoy falls back to: all on stable
    assert await canaries(stand, 10) == 0


async def test_a_connection_without_a_folder_of_layers_is_misconfigured() -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(Misconfigured, match="names no folder `runtime`"):
            EnvoyRuntimeRouter(route_of(), EnvoyConnection(admin="http://127.0.0.1:1", routes=Path()), http)


@pytest.mark.server
async def test_a_folder_that_is_no_symlink_is_left_alone(stand: RuntimeStand, tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    router = stand.made(route_of(), folder=tmp_path)
    for percent in (0, 5):
        with pytest.raises(Misconfigured, match="is no symlink"):
            await router.write(Write(percent=percent, epoch=1, owner=OWNER))


@pytest.mark.server
async def test_a_folder_that_may_not_be_written_names_itself(stand: RuntimeStand) -> None:
    with read_only(stand.folder), pytest.raises(NotPermitted, match=str(stand.folder)):
        await stand.router().write(Write(percent=0, epoch=1, owner=OWNER))
