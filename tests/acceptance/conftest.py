"""One Temporal server and one control plane for every story."""

import asyncio

import pytest

from activities import pods, traffic
from testbed.kubernetes import ControlPlane
from testbed.temporal import TemporalServer
from tests.acceptance.playing import Rollouts


@pytest.fixture(scope="session")
def rollouts(
    request: pytest.FixtureRequest, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Rollouts:
    """Every selected story, played."""
    control_plane.install("gateway-api")
    control_plane.install("istio")
    played = Rollouts(request.session.items, control_plane)
    directory = tmp_path_factory.mktemp("temporal")
    with TemporalServer(directory, ui=False, in_memory=True) as server, pytest.MonkeyPatch.context() as patch:
        # A way back does not wait for a look that is slow, and on a busy machine with so many rollouts every look is.
        patch.setattr(pods, "LOOK_SECONDS", 10.0)
        patch.setattr(traffic, "FIRST_LOOK_SECONDS", 10.0)
        asyncio.run(played.play(server.address))
    return played
