"""`sluice demo --scenario flag`: a feature fails, its flag goes off, and the release stays and waits for a person.

On HAProxy: `--scenario all`, which is played on Envoy in `test_demo.py`, has this scenario, too.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

SLUICE = str(Path(sys.executable).with_name("sluice"))
WITHIN_S = 200.0


def test_a_failing_feature_is_turned_off_and_the_release_waits_for_a_person(tmp_path: Path) -> None:
    row, said = played(tmp_path, "--route", "haproxy", "--scenario", "flag", "--json")
    assert (row["outcome"], row["percents_seen"], row["caught_by"]) == ("Promoted", [5, 25, 50, 100], "errors")
    assert (row["flag_at_end"], row["rolled_back"], row["seconds_to_zero"]) == ("off", False, None)
    assert row["dropped_requests"] == 0
    assert row["bad_responses"] > 0
    assert 0 < row["seconds_to_breach"] < row["seconds_to_flag_off"]
    assert row["article_rule_s"] > row["seconds_to_flag_off"] + 100  # its `for` alone is 120 s
    assert 0 < row["history_events"] <= 150
    moments = [
        "Mitigating at 25 %",
        "Held at 25 %: the feature is off, the release stays: it waits for a person",
        "`resume` goes on with it off",
        "ana has seen it and resumed",
        "Baking at 50 %",
        "the release was not rolled back, 0 % was never written",
    ]
    places = [said.find(words) for words in moments]
    assert -1 not in places, f"{moments[places.index(-1)]!r} is not in {said}"
    assert places == sorted(places)
    assert not list(tmp_path.iterdir())


def played(temporary: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The command as a person runs it: its only row, and what it said meanwhile."""
    done = subprocess.run(
        [SLUICE, "demo", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = done.stdout.splitlines()
    return json.loads(row), done.stderr
