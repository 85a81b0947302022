"""What an operator sees in Temporal's own Web UI, in a real browser."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from temporalio.client import WorkflowHandle

from rollout import names
from rollout.happened import Phase, RolloutResult
from testbed.parts import PartMissing, binary
from tests.faults.house import House, connect, ladder, seen
from tools import screenshot
from tools.screenshot import NotShown, browser

pytestmark = [pytest.mark.server, pytest.mark.browser]

SIZE = (1400, 1100)
BLANK_BYTES = 20_000  # an empty page of this size has less


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    try:
        binary("chromium")
    except PartMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"nobody looks at the Web UI here: {missing}")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), ui=True) as running:
        running.calm()
        running.bed.load(rate=60)
        yield running


async def test_the_web_ui_tells_the_story_of_a_rollout(house: House) -> None:
    client = await connect(house)
    spec = ladder((5, "2s"), (25, "4s"), (100, "2s"))
    spec["strategy"]["stages"][1]["approval"] = {"within": "1h"}
    run = await client.start_workflow(
        names.ROLLOUT,
        spec,
        id=names.workflow_id("demo", "checkout"),
        task_queue=names.TASK_QUEUE,
        result_type=RolloutResult,
    )
    async with browser(SIZE) as page:
        await seen("it asks for approval", lambda: run.query(names.STATUS), it_asks)
        # Markdown is in a frame of its own.
        details = await page.open(address(house, run, "user-metadata"), ["on the candidate"])
        assert "checkout 1.41.3 → 1.42.0 in demo: 25 % on the candidate, AwaitingApproval" in details
        assert "5 %: done, baked 2s" in details
        assert "errors: healthy: 0, limit above 0.05 for 2s" in details
        assert "To stop it: temporal workflow signal --workflow-id rollout:demo/checkout --name abort" in details
        is_a_picture(await page.picture())

        await run.execute_update(names.APPROVE, {"by": "ana"})
        await run.result()
        timeline = await page.open(address(house, run, "timeline"), ["drain_pool"])
        assert "COMPLETED" in timeline
        for bar in (
            "plan_rollout • preflight of checkout 1.42.0 for demo",
            "shift_traffic • 0 % → 5 % on envoy edge/checkout",
            "watch_health • bake 2s at 5 %",
            "shift_traffic • 5 % → 25 % on envoy edge/checkout",
            "watch_health • bake 4s at 25 %",
            "watch_health • watch at 25 %, waiting for approval of 25 %",
            "shift_traffic • 25 % → 100 % on envoy edge/checkout",
        ):
            assert bar in timeline
        is_a_picture(await page.picture())

        listed = await page.open(f"{house.server.ui_url}/namespaces/default/workflows", ["COMPLETED"])
        assert "rollout:demo/checkout" in listed


async def test_a_page_that_does_not_show_it_says_what_it_shows_instead(house: House) -> None:
    async with browser() as page:
        with pytest.raises(NotShown, match=r"not on the page within 0\.3 s: \['a unicorn'\]\. It shows:\nonly this"):
            await page.open("data:text/html,<p>only this</p>", ["a unicorn"], within_s=0.3)
        with pytest.raises(NotShown, match="there is no button 'Fly'"):
            await page.click("Fly")


def test_the_command_line_takes_a_picture(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "page.png"
    page = "data:text/html,<button onclick='this.innerText=`done`'>do it</button>"
    words = ["screenshot", page, str(file), "--wait-for", "do it", "--click", "do it", "--size", "300", "200", "--text"]
    monkeypatch.setattr("sys.argv", words)
    assert screenshot.main() == 0
    assert size(file.read_bytes()) == (300, 200)
    assert "done" in capsys.readouterr().out


def it_asks(status: Any) -> bool:
    return bool(status) and status["phase"] == Phase.AWAITING_APPROVAL


def address(house: House, run: WorkflowHandle[object, RolloutResult], tab: str) -> str:
    """Where the Web UI shows a tab of a run."""
    runs = f"{house.server.ui_url}/namespaces/default/workflows/{quote(run.id, safe='')}"
    return f"{runs}/{run.first_execution_run_id}/{tab}"


def is_a_picture(picture: bytes) -> None:
    """A PNG of the window's size with something on it."""
    assert size(picture) == SIZE
    assert len(picture) > BLANK_BYTES


def size(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG (its first chunk, IHDR: 8 bytes of signature, length, name, then the two numbers)."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    return int(width), int(height)
