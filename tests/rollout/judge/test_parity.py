"""Our `for:` is Prometheus' `for:`, evaluation by evaluation.

The recorded cases run without promtool. To add one, write `parity/<name>.json` without `firing` and let promtool agree:
`SLUICE_RECORD=1 pytest -m server tests/rollout/judge/test_parity.py`.
"""

import os
from pathlib import Path

import pytest

from tests.rollout.judge.cases import at_random, promtool, record, recorded, slightly_wrong

RECORDED = sorted((Path(__file__).parent / "parity").glob("*.json"))
SEED = 20261122


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_we_say_what_prometheus_said(file: Path) -> None:
    case, firing = recorded(file)
    assert case.firing() == firing


def test_the_recorded_cases_fire_and_stay_silent() -> None:
    ticks = [tick for file in RECORDED for tick in recorded(file)[1]]
    assert len(RECORDED) >= 8
    assert sum(map(bool, ticks)) >= 20
    assert sum(not tick for tick in ticks) >= 20


@pytest.mark.server
def test_prometheus_still_says_what_it_said(tmp_path: Path) -> None:
    recording = "SLUICE_RECORD" in os.environ
    cases = [(case, case.firing() if recording else firing) for case, firing in map(recorded, RECORDED)]
    said = promtool(cases, tmp_path)
    assert said.returncode == 0, said.stdout + said.stderr
    if recording:
        for file, (case, firing) in zip(RECORDED, cases, strict=True):
            record(file, case, firing)


@pytest.mark.server
def test_prometheus_agrees_with_us_on_random_rules_and_samples(tmp_path: Path) -> None:
    cases = [(case, case.firing()) for case in at_random(30, SEED)]
    said = promtool(cases, tmp_path)
    assert said.returncode == 0, said.stdout + said.stderr
    assert sum(bool(tick) for _, firing in cases for tick in firing) >= 100


@pytest.mark.server
def test_one_wrong_evaluation_is_noticed(tmp_path: Path) -> None:
    for case in at_random(6, SEED):
        said = promtool([(case, slightly_wrong(case, case.firing()))], tmp_path)
        assert said.returncode == 1, case
        assert "FAILED" in said.stdout + said.stderr
