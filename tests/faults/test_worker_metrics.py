"""What a worker tells whoever scrapes it: late polls see breaches late, and full slots wait."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.conftest import Begin
from tests.faults.house import POLL_S, House, ladder

pytestmark = pytest.mark.server


def scraped(house: House) -> dict[str, float]:
    """Sums over all labels, by name."""
    page = httpx.get(house.worker.metrics_url, timeout=5, trust_env=False).raise_for_status().text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


async def test_a_worker_serves_how_late_its_polls_are_and_what_the_sdk_counts(house: House, begin: Begin) -> None:
    before = scraped(house)
    run = await begin(ladder((25, "3s"), (100, "2s")))
    await run.promoted()
    after = scraped(house)
    polls = after["sluice_poll_lateness_count"] - before.get("sluice_poll_lateness_count", 0)
    assert polls >= 4 / POLL_S, "one for each poll of both stages"
    assert after["sluice_poll_lateness_sum"] >= before.get("sluice_poll_lateness_sum", 0)
    assert after["temporal_workflow_completed_total"] == before.get("temporal_workflow_completed_total", 0) + 1
    assert after["temporal_worker_task_slots_available"] > 0
