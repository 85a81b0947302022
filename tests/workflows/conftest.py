"""One server for every story."""

import asyncio

import pytest

from testbed.temporal import TemporalServer
from tests.workflows.skipping import DYNAMIC_CONFIG
from tests.workflows.stories import Stories


@pytest.fixture(scope="session")
def stories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stories:
    """Every selected story, played."""
    played = Stories(request.session.items)
    directory = tmp_path_factory.mktemp("temporal")
    with TemporalServer(directory, ui=False, in_memory=True, dynamic_config=DYNAMIC_CONFIG) as server:
        asyncio.run(played.play(server.address))
    return played
