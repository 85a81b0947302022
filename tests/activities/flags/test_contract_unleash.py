import pytest

from tests.activities.flags.contract import FlagContract
from tests.activities.flags.switch_contract import SwitchContract
from tests.activities.flags.trouble_contract import TroubleContract
from tests.activities.flags.unleash_stand import UnleashStand


@pytest.fixture
def stand(unleash_stand: UnleashStand) -> UnleashStand:
    return unleash_stand


@pytest.mark.server
class TestUnleash(FlagContract, SwitchContract, TroubleContract):
    """A real server with a real database; off is always stable there, so nothing can mislead."""
