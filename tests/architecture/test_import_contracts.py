"""The import contracts hold, and each one notices when it is broken.

A contract that cannot fail proves nothing, so every one of them gets a violation planted in a copy of the tree.
"""

import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("rollout", "activities", "workflows", "starter", "testbed")

LAYERS = "Layers: starter, workflows, activities, rollout"
PURE = "The core needs only pydantic"
NO_CLIENT = "Workflows reach no client"
INSIDE_ACTIVITIES = "Inside activities: classes, then backends, then ports"
BACKENDS_CHOSEN = "Only the worker chooses backends"
CONNECTING = "Only the worker and sizing commands connect"
INDEPENDENT = "Backends are independent"
TEST_BED = "Only the demo uses the test bed"
WORKER = "Nothing imports the worker"


@dataclass(frozen=True)
class Violation:
    """Lines appended to files, made where there are none, and the contract that they break."""

    title: str
    contract: str
    planted: dict[str, str]


VIOLATIONS = [
    Violation("the core imports workflows", LAYERS, {"rollout/planted.py": "import workflows"}),
    Violation("activities import the command line", LAYERS, {"activities/planted.py": "import starter"}),
    Violation("the core imports Temporal", PURE, {"rollout/planted.py": "from temporalio import workflow"}),
    Violation("the core reads YAML inside a function", PURE, {"rollout/planted.py": "def f():\n    import yaml"}),
    Violation(
        "a workflow reaches a cloud client through an activity",
        NO_CLIENT,
        {"activities/planted.py": "import boto3", "workflows/planted.py": "import activities.planted"},
    ),
    Violation(
        "a port imports a backend",
        INSIDE_ACTIVITIES,
        {"activities/ports/planted.py": "import activities.routers.planted", "activities/routers/planted.py": ""},
    ),
    Violation("a workflow chooses a router", BACKENDS_CHOSEN, {"workflows/planted.py": "import activities.routers"}),
    Violation(
        "an activity chooses a metric source",
        BACKENDS_CHOSEN,
        {"activities/planted.py": "from activities.metrics import planted", "activities/metrics/planted.py": ""},
    ),
    Violation("another command connects", CONNECTING, {"starter/planted.py": "import activities.connecting"}),
    Violation("an activity connects", CONNECTING, {"activities/planted.py": "from activities import connecting"}),
    Violation(
        "a router imports another router",
        INDEPENDENT,
        {"activities/routers/planted.py": "import activities.routers.other", "activities/routers/other.py": ""},
    ),
    Violation(
        "a router imports a metric source",
        INDEPENDENT,
        {"activities/routers/planted.py": "import activities.metrics.planted", "activities/metrics/planted.py": ""},
    ),
    Violation("a workflow imports the test bed", TEST_BED, {"workflows/planted.py": "import testbed"}),
    Violation("another command imports the test bed", TEST_BED, {"starter/planted.py": "import testbed"}),
    Violation("a command imports the worker", WORKER, {"starter/planted.py": "import worker"}),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages and of the contracts, to break."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "worker.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def broken_contracts(tree: Path) -> set[str]:
    """Return the names of the contracts that import-linter finds broken there."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=tree,
        env={"NO_COLOR": "1", "PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = [line.rsplit(maxsplit=1) for line in done.stdout.splitlines() if line.endswith((" KEPT", " BROKEN"))]
    assert {name for name, _ in verdicts} == contracts(), f"not every contract was checked:\n{done.stdout}{done.stderr}"
    broken = {name for name, verdict in verdicts if verdict == "BROKEN"}
    assert (done.returncode != 0) == bool(broken)
    return broken


def contracts() -> set[str]:
    """Return the names of the contracts in pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]}


def test_the_tree_as_it_is_keeps_every_contract(tree: Path) -> None:
    assert broken_contracts(tree) == set()


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.title)
def test_a_planted_violation_breaks_its_contract(violation: Violation, tree: Path) -> None:
    for name, lines in violation.planted.items():
        with (tree / name).open("a") as file:
            file.write(f"\n{lines}\n")
    assert violation.contract in broken_contracts(tree)


def test_every_contract_has_a_planted_violation() -> None:
    assert {violation.contract for violation in VIOLATIONS} == contracts()


def test_the_core_imports_nothing_but_the_standard_library_and_pydantic() -> None:
    """The contract lists what is forbidden; this lists what is allowed, so a new dependency cannot slip in."""
    graph = grimp.build_graph("rollout", include_external_packages=True, cache_dir=None)
    outside = {module for module in graph.modules if module.split(".")[0] != "rollout"}
    assert outside - sys.stdlib_module_names <= {"annotated_types", "pydantic", "pydantic_core", "typing_extensions"}
