"""Exit codes, and the sentence for every way a run can end or a command can go wrong without a server's help."""

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError

from rollout import names
from rollout.happened import Phase, RolloutResult
from starter.endings import _failed
from starter.exits import Exit, Sorry, of_phase
from starter.rollouts import Run, _identity
from tests.starter.sights import NOW, run
from tests.starter.typing_it import environment, finished, launched, typed

REPOSITORY = Path(__file__).parents[2]
NOBODY = "127.0.0.1:1"


def test_exit_codes_are_what_scripts_rely_on() -> None:
    assert {phase.value: int(of_phase(phase)) for phase in Phase} == {
        "Preflight": 0,
        "Shifting": 0,
        "Baking": 0,
        "AwaitingApproval": 0,
        "Held": 13,
        "Mitigating": 0,
        "Finalizing": 0,
        "Promoted": 0,
        "RollingBack": 0,
        "Stuck": 13,
        "RolledBack": 10,
        "Aborted": 11,
        "Rejected": 12,
        "Expired": 12,
        "Refused": 1,
    }


RESULT = RolloutResult(
    outcome=Phase.ROLLED_BACK,
    service="checkout",
    environment="prod",
    candidate="1.42.0",
    stable="1.41.3",
    percent=0,
    started_at=NOW,
    ended_at=NOW,
)


def test_a_failure_of_ours_brings_its_sentence_and_its_result() -> None:
    failure = ApplicationError("checkout: RolledBack: …", RESULT.model_dump(mode="json"), type="RolledBack")
    end = _failed(run(), failure)
    assert (end.code, end.sentence, end.result) == (Exit.ROLLED_BACK, "checkout: RolledBack: …", RESULT)


@pytest.mark.parametrize("kind", ["Refused", "BadInput", "SomethingElse", None])
def test_a_run_that_never_became_a_rollout_failed_to_run(kind: str | None) -> None:
    assert _failed(run(), ApplicationError("no", type=kind)).code is Exit.REFUSED


def test_a_cancelled_run_counts_as_aborted_and_says_where_it_ended() -> None:
    end = _failed(run(state="Canceled", phase="Aborted", percent=0), CancelledError("cancelled"))
    assert end.code is Exit.ABORTED
    assert end.sentence == "checkout 1.42.0 in prod: cancelled; it ended as Aborted, 0 % on the candidate"


def test_a_terminated_run_shouts_that_the_traffic_is_where_it_was() -> None:
    end = _failed(run(state="Terminated", percent=25), TerminatedError("killed"))
    assert end.code is Exit.REFUSED
    assert end.sentence == (
        "checkout 1.42.0 in prod: terminated from outside, so nothing put the traffic back; it was last Baking at 25 "
        "%: look at the route, and bring it to 0 % by hand"
    )


def recorded(workflow_id: str, status: int, **marks: object) -> WorkflowExecutionInfo:
    info = WorkflowExecutionInfo(execution=WorkflowExecution(workflow_id=workflow_id, run_id="r"))
    info.status = status  # type: ignore[assignment]  # also numbers that this version does not know
    info.start_time.FromDatetime(NOW)
    for name, value in marks.items():
        info.search_attributes.indexed_fields[name].CopyFrom(Payload(data=json.dumps(value).encode()))
    return info


def test_a_run_that_nobody_has_begun_is_known_by_its_id() -> None:
    found = Run.of(recorded("rollout:prod/checkout", WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING))
    assert (found.service, found.environment, found.phase, found.percent) == ("checkout", "prod", "", None)
    assert found.started == datetime(2026, 11, 22, 3, 12, 5, tzinfo=UTC)


def test_marks_win_over_the_id_and_a_paused_run_is_open() -> None:
    marks = {names.SERVICE: "shop", names.ENVIRONMENT: "eu", names.PERCENT: 25, names.PHASE: "Held"}
    found = Run.of(recorded("mine", WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED, **marks))
    assert (found.service, found.environment, found.phase, found.percent) == ("shop", "eu", "Held", 25)
    assert (found.state, found.open) == ("Paused", True)
    assert Run.of(recorded("mine", 99)).state == "Status99"


def test_without_a_command_the_help_is_shown() -> None:
    answer = typed()
    assert answer.code == 0
    assert answer.out.startswith("Usage: sluice [OPTIONS] COMMAND")
    assert "\x1b" not in answer.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["plna"], "No such command 'plna'. Did you mean 'plan'? See `sluice --help`."),
        (["start"], "Missing argument 'SPEC'. See `sluice start --help`."),
        (["list", "--al"], "No such option: --al (Possible options: --all, --help) See `sluice list --help`."),
        (["abort", "checkout", "--comment", "x" * 1001], "--comment: String should have at most 1000 characters"),
        (
            ["demo", "--scenario", "nope"],
            (
                "sluice demo: there is no scenario 'nope'; known are good, bad, slow, abort, flag, blue-green, "
                "flip-back and all"
            ),
        ),
    ],
)
def test_wrong_use_is_one_line_and_two(words: list[str], sentence: str) -> None:
    answer = typed(*words)
    assert (answer.code, answer.out, answer.err) == (2, "", f"{sentence}\n")


@pytest.mark.parametrize(
    ("name", "environment", "meant"),
    [
        ("rollout:prod/checkout", None, "rollout:prod/checkout"),
        ("prod/checkout", None, "rollout:prod/checkout"),
        ("checkout", "prod", "rollout:prod/checkout"),
        ("checkout", None, None),
    ],
)
def test_a_rollout_is_named_in_three_ways(name: str, environment: str | None, meant: str | None) -> None:
    assert _identity(name, environment) == meant


@pytest.mark.parametrize(("name", "environment"), [("prod/checkout", "prod"), ("a b", None), ('x" OR "', None)])
def test_a_name_that_cannot_be_one_is_wrong_use(name: str, environment: str | None) -> None:
    with pytest.raises(Sorry) as sorry:
        _identity(name, environment)
    assert sorry.value.code is Exit.USAGE


@pytest.mark.parametrize("words", [["list"], ["abort", "checkout"], ["setup"]])
def test_a_server_that_is_not_there_is_one_sentence(words: list[str]) -> None:
    answer = finished(launched(*words, env=environment(NOBODY)))
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        f"Temporal at {NOBODY} does not answer (Connection refused); is it running? TEMPORAL_ADDRESS or a profile says "
        "where it is, and `temporal server start-dev` starts one to try things out\n"
    )


def test_an_unknown_profile_is_one_sentence() -> None:
    answer = finished(launched("list", env=environment(NOBODY, TEMPORAL_PROFILE="nope")))
    assert (answer.code, answer.err) == (1, "the Temporal settings cannot be used: Profile 'nope' not found\n")


def test_a_pipe_that_closes_early_is_quiet_but_never_a_success() -> None:
    process = launched("schema", env=environment(NOBODY))
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    answer = finished(process)
    assert (answer.code, answer.err) == (1, "")


def test_a_real_terminal_gets_colours() -> None:
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "starter", "plan", str(REPOSITORY / "examples" / "checkout.json")]
    with subprocess.Popen(words, stdout=follower, env={**environment(NOBODY), "TERM": "xterm"}) as process:
        os.close(follower)
        shown = b""
        while b"longest" not in shown:
            shown += os.read(leader, 4096)
        os.set_blocking(leader, False)
        assert process.wait(timeout=20) == 0
    os.close(leader)
    assert b"\x1b[1m" in shown


def test_the_worker_is_the_one_beside_this_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("raise SystemExit('not me')\n")
    monkeypatch.chdir(tmp_path)
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: called.append((program, words)))
    typed("worker")
    assert called == [(sys.executable, [sys.executable, str(REPOSITORY / "worker.py")])]


def test_the_command_line_loads_neither_the_demo_nor_the_worker() -> None:
    question = "import starter.cli, sys; print({'starter.demo', 'testbed', 'worker', 'boto3'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"


def test_a_bug_of_ours_is_one_line_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starter.specs.spec_schema", lambda: 1 // 0)
    answer = typed("schema")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("internal error, please report it: ZeroDivisionError: ")
    assert answer.err.count("\n") == 1
