"""One real Unleash for all tests of a run: it takes seconds to start, and flags are cheap."""

import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from UnleashClient.clients.unleash_client import UnleashClient

from activities.shared import Shared
from testbed.flags.gate import Gate
from testbed.flags.unleash import Unleash
from testbed.parts import PartMissing, binary
from tests.activities.flags.unleash_stand import UnleashHouse, UnleashStand


def unleash_or_skip() -> None:
    """Skip the test where the server was never installed; in CI it must be there."""
    try:
        binary("postgres"), binary("unleash")
    except PartMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"nothing of Unleash is tested here: {missing}")


@pytest.fixture(scope="session")
def unleash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnleashHouse]:
    unleash_or_skip()
    folder = tmp_path_factory.mktemp("unleash")
    with Unleash(folder) as server:
        client = server.client_token()
        application = UnleashClient(
            f"{server.url}/api",
            "shop",
            custom_headers={"Authorization": client.secret},
            refresh_interval=1,
            disable_metrics=True,
            disable_registration=True,
            cache_directory=str(folder / "application"),
        )
        application.initialize_client()
        try:
            yield UnleashHouse(server, server.person("sluice"), client, application)
        finally:
            application.destroy()


@pytest.fixture
async def unleash_stand(unleash: UnleashHouse, tmp_path: Path) -> AsyncIterator[UnleashStand]:
    with Gate(unleash.server.url) as gate, ThreadPoolExecutor(4) as threads:
        async with httpx.AsyncClient(trust_env=False) as http:
            shared = Shared(http, threads)
            yield UnleashStand(unleash, gate, shared, tmp_path)
            await shared.aclose()
