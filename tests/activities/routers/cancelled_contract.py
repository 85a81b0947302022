"""What a router promises to a caller that goes away in the middle of a write; joined as `contract` says."""

import asyncio

import pytest

from activities.ports import Write
from tests.activities.routers.contract import OWNER, Stand, proven


class CancelledContract:
    """A router whose writes go on in the background; needs a fixture `stand`."""

    async def test_a_cancelled_write_is_finished_all_the_same(self, stand: Stand) -> None:
        router = stand.router()
        writing = asyncio.ensure_future(router.write(Write(percent=5, epoch=1, owner=OWNER)))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await proven(router, 5)
