"""Set-up says what it does, keeps what is there, and leaves nothing running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.parts import command, places, running
from tools.parts.part import Part

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _in_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (places, running):
        monkeypatch.setattr(module, "TOOLS", tmp_path)
    monkeypatch.setattr(places, "BIN", tmp_path / "bin")


def have(monkeypatch: pytest.MonkeyPatch, *parts: Part) -> None:
    monkeypatch.setattr(command, "_PARTS", {part.name: part for part in parts})


def cannot() -> None:
    raise running.UnavailableError("nobody sells it; make your own")


def test_a_part_in_place_is_not_had_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    have(monkeypatch, Part("mill", "grinds", lambda: "1.2", cannot))
    assert command.run([]) == 0
    assert "1.2" in capsys.readouterr().out


def test_a_part_that_cannot_be_had_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    have(monkeypatch, Part("mill", "grinds", lambda: None, cannot))
    assert command.run([]) == 1
    said = capsys.readouterr().out
    assert "make your own" in said
    assert "no mill" in said


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_an_optional_part_is_optional_except_in_ci(monkeypatch: pytest.MonkeyPatch, ci: str, code: int) -> None:
    have(monkeypatch, Part("mill", "grinds", lambda: None, cannot, optional=True))
    monkeypatch.setenv("CI", ci)
    assert command.run([]) == code


def test_a_part_that_does_not_answer_is_not_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, Part("mill", "grinds", lambda: None, lambda: None))
    assert command.run([]) == 1


def test_asking_for_a_part_brings_what_it_needs_first(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def part(name: str, *needs: str) -> Part:
        return Part(name, "", lambda: "1" if name in done else None, lambda: done.append(name), needs=needs)

    have(monkeypatch, part("grain"), part("salt"), part("flour", "grain"))
    assert command.run(["--only", "flour"]) == 0
    assert done == ["grain", "flour"]


def test_a_failed_command_shows_the_end_of_its_output() -> None:
    with pytest.raises(running.UnavailableError, match=r"grinding failed \(exit 3\):\n    no grain"):
        running.run(["sh", "-c", "echo no grain; exit 3"], "grinding")


def test_a_command_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(running.UnavailableError, match="no-such-mill cannot be run"):
        running.run(["no-such-mill"], "grinding")
    assert running.ask("no-such-mill", "--version") == ""


def test_a_stamp_counts_for_the_same_pins_only() -> None:
    assert not places.stamped("mill", "1")
    places.stamp("mill", "1")
    assert places.stamped("mill", "1")
    assert not places.stamped("mill", "2")


def test_what_we_linked_ourselves_is_not_taken_for_the_machines_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "usr"
    elsewhere.mkdir()
    (elsewhere / "mill").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{places.BIN}:{tmp_path / 'bin' / '..' / 'bin'}")
    places.link("mill", elsewhere / "mill")
    assert places.on_path("mill") is None
    monkeypatch.setenv("PATH", f"{places.BIN}:{elsewhere}")
    assert places.on_path("mill") == str(elsewhere / "mill")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ending_set_up_ends_what_it_started(sent: signal.Signals, tmp_path: Path) -> None:
    story = """
import pathlib, signal, sys
from tools.parts import command, running
from tools.parts.part import Part
running.TOOLS = pathlib.Path(sys.argv[1])
def obtain():
    running.run(["sh", "-c", f"echo $$ > {sys.argv[1]}/pid; sleep 60 & wait"], "grinding")
command._PARTS = {"mill": Part("mill", "grinds", lambda: None, obtain)}
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(command.run([]))
"""
    with subprocess.Popen([sys.executable, "-c", story, str(tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL) as setup:
        group = int(read_when_written(tmp_path / "pid"))
        setup.send_signal(sent)
        assert setup.wait(10) == {signal.SIGINT: 130, signal.SIGTERM: 143}[sent]
    assert gone(group)


def test_a_python_that_is_too_old_is_told_so_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools import setup  # noqa: PLC0415 - the script itself, not the parts

    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert setup.main() == 2
    assert "needs Python 3.11 or newer" in capsys.readouterr().out


def gone(group: int) -> bool:
    """Say whether nothing of the process group is left, giving whoever inherits the dead a moment to bury them."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def read_when_written(path: Path) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text().strip()):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{path.name} was not written")
