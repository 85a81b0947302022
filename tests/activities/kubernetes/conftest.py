from collections.abc import AsyncIterator

import pytest

from activities.kubernetes import Cluster
from testbed.kubernetes import ControlPlane
from tests.activities.kubernetes.bed import opened


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    """The administrator's."""
    async with opened(control_plane.kubeconfig) as found:
        yield found
