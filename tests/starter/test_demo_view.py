"""The demo's live picture: long sentences of gates that count stay readable on a narrow terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from rollout.judge.verdict import GateState, Verdict
from rollout.messages import Watching
from rollout.plan import Facts, plan
from rollout.progress import Progress
from rollout.status import status
from starter.demo.scenarios import BAD, read_script
from starter.demo.scene import Scene
from starter.demo.view import Lines, picture
from testbed.report import LoadReport

COUNTS = "candidate 6 of 1050 (0.57 %), stable 98 of 19950 (0.49 %)"
ERRORS = f"errors: {COUNTS}: not excluded: up to 2.9× worse (95 % sure)"
LATENCY = f"requests slower than 0.3s: {COUNTS}: proven not 2× worse"
RULE = "0.05828, beyond its limit for 12s (limit: above 0.05 for 2m)"


def gate(verdict: Verdict, sentence: str) -> GateState:
    return GateState(watermark_ms=1, verdict=verdict, sentence=sentence)


def scene() -> Scene:
    states = {
        "errors": gate(Verdict.UNDECIDED, ERRORS),
        "latency": gate(Verdict.HEALTHY, LATENCY),
        "hard-5xx": gate(Verdict.UNDECIDED, RULE),
    }
    return Scene(
        scenario=BAD,
        number=2,
        of=3,
        stages=read_script().stages,
        doing="the candidate now fails 10 % of its requests; nobody but the gates looks",
        watching=Watching(states=states, watermark_ms=1),
        load=LoadReport(started_at=1.0, written_at=2.0, requests=12_345, bad_responses=17),
        link=f"http://127.0.0.1:23650/namespaces/default/workflows/rollout%3Ademo%2Fcheckout/{'0' * 36}",
    )


def test_a_gate_that_the_stage_no_longer_watches_is_not_shown() -> None:
    spec = read_script().spec
    planned = plan(spec, Facts(), owner=spec.workflow_id)
    gates = {"errors": gate(Verdict.NO_DATA, ERRORS), "hard-5xx": gate(Verdict.HEALTHY, RULE)}
    at = [Progress().planned(planned).model_copy(update={"stage": stage, "gates": gates}) for stage in (2, 3)]
    shown = [replace(scene(), watching=None, status=status(spec, planned, progress)) for progress in at]
    assert [list(each.gates) for each in shown] == [["errors", "hard-5xx"], ["hard-5xx"]]
    assert replace(scene(), watching=None).gates == {}


def drawn(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(picture(scene(), 70))
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_sentences_wrap_beside_their_verdicts(width: int) -> None:
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    first = next(number for number, line in enumerate(lines) if line.startswith(" errors"))
    column = lines[first].index("errors: candidate")
    last = next(number for number, line in enumerate(lines) if line.startswith(" visitors"))
    assert " ".join(line[column:] for line in lines[first:last]).split() == f"{ERRORS} {LATENCY} {RULE}".split()
    labels = [line[:column].split() for line in lines[first:last] if line[:column].strip()]
    assert labels == [["errors", "undecided"], ["latency", "healthy"], ["hard-5xx", "undecided"]]


def test_the_whole_picture_fits_into_a_terminal_of_80_by_24() -> None:
    assert len(drawn(80)) <= 24


def test_in_a_pipe_a_moment_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Console(highlight=False, emoji=False, soft_wrap=True, width=80))
    lines.show(scene())
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2  # the address of the run's page, and the moment
    assert said[1].endswith(f" | errors undecided: {ERRORS} | latency healthy: {LATENCY} | hard-5xx undecided: {RULE}")
