"""The quick way to Temporal is taken when it works, and given up soon when it does not."""

import sys
import time
from pathlib import Path

import pytest

from tools.parts import temporal

# What the SDK's downloader leaves in its folder, here a program that only says its version.
RELEASED = """
import pathlib, sys
program = pathlib.Path(sys.argv[1]) / "temporal-sdk"
program.write_text(f"#!/bin/sh\\necho 'temporal version {sys.argv[2][1:]} (Server 1.32.0, UI 2.54.1)'\\n")
program.chmod(0o755)
"""


@pytest.fixture(autouse=True)
def _in_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "TOOLS", tmp_path)
    monkeypatch.setattr(temporal, "PYTHON", Path(sys.executable))


def test_a_released_binary_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "_FETCH", RELEASED)
    found = temporal._download()
    assert found is not None
    assert found.name == "temporal-sdk"


def test_a_host_that_refuses_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "_FETCH", "raise SystemExit(1)")
    assert temporal._download() is None


def test_a_host_that_says_nothing_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "_FETCH", "import time; time.sleep(60)")
    monkeypatch.setattr(temporal, "_ANSWER_SECONDS", 0.2)
    began = time.monotonic()
    assert temporal._download() is None
    assert time.monotonic() - began < 5


def test_a_download_that_breaks_off_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "_FETCH", RELEASED + "raise SystemExit(1)")
    assert temporal._download() is None
