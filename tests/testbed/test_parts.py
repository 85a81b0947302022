import stat
import sys
from pathlib import Path

import pytest

from testbed.parts import PartMissing, binary


def _program(directory: Path, name: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / name
    file.write_text("#!/bin/sh\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.fixture(autouse=True)
def _nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.parts.REPOSITORY", tmp_path / "repository")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))


def test_a_missing_part_says_which_one_and_what_to_type() -> None:
    with pytest.raises(PartMissing, match=r"^envoy \(the Envoy proxy\) was not found in .*run `make setup`"):
        binary("envoy")


def test_the_projects_own_build_comes_before_the_python_and_the_machine(tmp_path: Path) -> None:
    on_path = _program(tmp_path / "path", "prometheus")
    assert binary("prometheus") == on_path
    beside_python = _program(tmp_path / "venv" / "bin", "prometheus")
    assert binary("prometheus") == beside_python
    own = _program(tmp_path / "repository" / ".tools" / "bin", "prometheus")
    assert binary("prometheus") == own


def test_a_file_that_cannot_be_run_is_no_program(tmp_path: Path) -> None:
    file = _program(tmp_path / "repository" / ".tools" / "bin", "temporal")
    file.chmod(0o644)
    with pytest.raises(PartMissing):
        binary("temporal")
