"""One server for every story."""

from collections.abc import Iterator

import pytest

from testbed.temporal import TemporalServer
from tests.workflows.stories import Stories


@pytest.fixture(scope="session")
def stories(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stories]:
    """Every selected story, playing."""
    with (
        TemporalServer(tmp_path_factory.mktemp("temporal"), ui=False, in_memory=True) as server,
        Stories(server.address, request.session.items) as playing,
    ):
        yield playing
