"""What a workflow decides follows from its history alone: the time, chance and the environment come from Temporal.

The worker runs workflows without the SDK's sandbox (ADR 11), which would stop one that asks anybody else while it
runs. `rollout/` is kept from it by Ruff (TID251); here are the few files of `workflows/`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
MODULES = {"concurrent", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "socket", "subprocess"}
MODULES |= {"sys", "tempfile", "threading", "time", "uuid"}
# `asyncio` itself is the SDK's deterministic loop; these are threads, or take tasks out of a set in no order.
CALLS = {"now", "utcnow", "today", "to_thread", "run_in_executor", "as_completed", "wait", "timeout", "open", "input"}
ALLOWED = {"workflow.now"}


def asked(source: str) -> Iterator[str]:
    """Whom a file asks besides Temporal."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name.split(".")[0] in MODULES)
            case ast.ImportFrom(module=str() as module) if module.split(".")[0] in MODULES:
                yield module
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield name
            case ast.Call(func=ast.Attribute(attr=name) as what) if name in CALLS and ast.unparse(what) not in ALLOWED:
                yield ast.unparse(what)


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.py")), ids=lambda path: path.name)
def test_nobody_but_temporal_is_asked(path: Path) -> None:
    assert list(asked(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "who"),
    [
        ("import random", "random"),
        ("from os.path import exists", "os.path"),
        ("def f():\n    import time as t", "time"),
        ("datetime.now(UTC)", "datetime.now"),
        ("await asyncio.wait({one, other})", "asyncio.wait"),
        ("open('x')", "open"),
    ],
)
def test_a_planted_question_is_found(source: str, who: str) -> None:
    assert list(asked(source)) == [who]
    assert list(asked("workflow.now()")) == []
