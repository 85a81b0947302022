"""LaunchDarkly keeps the contract of flags: the stand-in, proven and used with LaunchDarkly's real SDK."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.activities.flags.contract import FlagContract
from tests.activities.flags.launchdarkly_stand import LaunchDarklyStand
from tests.activities.flags.switch_contract import MisleadingContract, SwitchContract
from tests.activities.flags.trouble_contract import TroubleContract


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[LaunchDarklyStand]:
    async with LaunchDarklyStand.standing(tmp_path) as standing:
        yield standing


@pytest.mark.server
class TestLaunchDarkly(FlagContract, SwitchContract, MisleadingContract, TroubleContract):
    """All of it."""
