from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from activities.metrics import source_for
from activities.metrics.prometheus import PrometheusConnection, PrometheusSource
from tests.activities.metrics import double as doubles
from tests.activities.metrics.double import Double, Make


@pytest.fixture
def double() -> Iterator[Double]:
    with doubles.running() as double:
        yield double


@pytest.fixture
def make(double: Double) -> Iterator[Make]:
    """Makes sources for the double, or for any other connection."""
    sources = []
    with ThreadPoolExecutor(2) as threads:

        def made(**connection: Any) -> PrometheusSource:
            sources.append(source_for(PrometheusConnection(**{"url": double.url, **connection}), threads))
            return sources[-1]

        yield made
        double.over.set()
        for source in sources:
            source.close()
