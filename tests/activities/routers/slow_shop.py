"""A shop that takes its time, for routers that count requests in flight."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from testbed.programs import Shop


@asynccontextmanager
async def slowed(shop: Shop) -> AsyncIterator[None]:
    """The shop takes 0.6 s for every answer while this lasts."""
    shop.fault(latency_ms=600)
    try:
        yield
    finally:
        shop.fault(latency_ms=0)
