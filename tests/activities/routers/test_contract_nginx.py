from collections.abc import AsyncIterator, Iterator

import pytest

from testbed.nginx import Mode
from testbed.programs import Shop
from tests.activities.routers.contract import ForcedHeaderContract, RefusalContract, RestartContract, RouterContract
from tests.activities.routers.nginx_stand import NginxStand, TwoServices, standing
from tests.activities.routers.sticky_contract import StickyContract


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Shop]]:
    folder = tmp_path_factory.mktemp("shops")
    with Shop(folder, version="stable") as stable, Shop(folder, version="canary") as candidate:
        yield stable, candidate


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, shops: tuple[Shop, Shop]) -> Iterator[TwoServices]:
    stable, candidate = shops
    folder = tmp_path_factory.mktemp("split")
    with TwoServices(folder, stable_port=stable.port, candidate_port=candidate.port) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, shops: tuple[Shop, Shop]) -> Iterator[TwoServices]:
    stable, candidate = shops
    folder = tmp_path_factory.mktemp("weights")
    mode: Mode = "upstream-weights"
    with TwoServices(folder, stable_port=stable.port, candidate_port=candidate.port, mode=mode) as nginx:
        yield nginx


@pytest.mark.server
class TestSplitClients(RouterContract, ForcedHeaderContract, RefusalContract, RestartContract, StickyContract):
    @pytest.fixture
    async def stand(self, split: TwoServices) -> AsyncIterator[NginxStand]:
        async with standing(split) as stand:
            yield stand


@pytest.mark.server
class TestUpstreamWeights(RouterContract, ForcedHeaderContract, RefusalContract, RestartContract):
    @pytest.fixture
    async def stand(self, weights: TwoServices) -> AsyncIterator[NginxStand]:
        async with standing(weights) as stand:
            yield stand
