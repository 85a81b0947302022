from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_stand import AlbStand, account, clients
from tests.activities.routers.contract import ForcedHeaderContract, RouterContract


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedAws]:
    with account(tmp_path_factory.mktemp("aws")) as bed:
        yield bed


@pytest.mark.server
class TestAlb(RouterContract, ForcedHeaderContract):
    @pytest.fixture
    async def stand(self, aws: SimulatedAws) -> AsyncIterator[AlbStand]:
        aws.reset()
        with ThreadPoolExecutor(8) as threads:
            stand = AlbStand(aws, clients(aws, threads))
            stand.add_other_rule()
            aws.forget_calls()
            yield stand
            await stand.api.aclose()
