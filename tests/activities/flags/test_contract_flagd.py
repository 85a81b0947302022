from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.activities.flags.contract import FlagContract
from tests.activities.flags.flagd_stand import FlagdStand, OfrepStand, in_process, over_ofrep
from tests.activities.flags.switch_contract import MisleadingContract, SwitchContract
from tests.activities.flags.trouble_contract import TroubleContract


class TestFile(FlagContract, SwitchContract, MisleadingContract, TroubleContract):
    """Applications evaluate the file themselves."""

    @pytest.fixture
    async def stand(self, tmp_path: Path) -> AsyncIterator[FlagdStand]:
        async with in_process(tmp_path) as running:
            yield running


@pytest.mark.server
class TestOfrep(FlagContract, SwitchContract, MisleadingContract, TroubleContract):
    """Applications ask an evaluator."""

    @pytest.fixture
    async def stand(self, tmp_path: Path) -> AsyncIterator[OfrepStand]:
        async with over_ofrep(tmp_path) as running:
            yield running
