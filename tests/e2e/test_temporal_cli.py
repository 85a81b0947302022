"""Nothing but the plain Temporal CLI, as an operator has it: no `sluice`, no Python."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rollout import names
from rollout.happened import Phase
from testbed.parts import REPOSITORY, binary
from testbed.processes import wait_until
from tests.faults.house import House

pytestmark = pytest.mark.server

ID = names.workflow_id("demo", "checkout")
START = ("--type", "Rollout", "--task-queue", "rollouts", "--workflow-id", ID)
EXAMPLE = REPOSITORY / "examples" / "checkout.json"
SHORT = {"bake": "2s", "for": "2s", "drain": "2s"}
MOST_EVENTS = 120


def shorter(spec: Any) -> Any:
    """The same spec with its waits made short, for a test."""
    match spec:
        case dict():
            return {name: SHORT.get(name, shorter(value)) for name, value in spec.items()}
        case list():
            return [shorter(each) for each in spec]
        case str():
            return spec.replace("[5m]", "[5s]")
        case _:
            return spec


class Cli:
    """`temporal`, with the server's address where people put it, and the spec files of these tests."""

    def __init__(self, house: House, files: Path) -> None:
        self.house = house
        self._files = files
        mine = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
        self._env = {**mine, "TEMPORAL_ADDRESS": house.server.address, "TEMPORAL_CONFIG_FILE": os.devnull}

    def __call__(self, command: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [binary("temporal"), "workflow", *command.split(), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=self._env)

    def about(self, command: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """A command about the one rollout."""
        return self(command, "--workflow-id", ID, *words)

    def signal(self, name: str, *inputs: str) -> None:
        """Send a signal; the CLI is content with whatever it is."""
        sent = self.about("signal", "--name", name, *(word for each in inputs for word in ("--input", each)))
        assert sent.returncode == 0, sent.stderr

    def status(self) -> dict[str, Any]:
        """The `status` query."""
        asked = self.about("query", "--name", "status", "-o", "json")
        assert asked.returncode == 0, asked.stderr
        (status,) = json.loads(asked.stdout)["queryResult"]
        return dict(status or {})

    def until(self, phase: Phase, percent: int) -> dict[str, Any]:
        """Ask until it is there."""
        seen: dict[str, Any] = {}

        def there() -> bool:
            time.sleep(0.1)  # each look is a process of its own
            seen.update(self.status())
            return (seen.get("phase"), seen.get("percent")) == (phase, percent)

        wait_until(there, within_s=30, what=f"{phase} at {percent} %")
        return seen

    def spec(self, **changes: Any) -> Path:
        """The example with short waits and these changes."""
        file = self._files / "checkout.json"
        spec = shorter(json.loads(EXAMPLE.read_text(encoding="utf-8")))
        spec["gates"] = {"hard-5xx": spec["gates"]["hard-5xx"]}  # those that count want more visitors than come here
        file.write_text(json.dumps({**spec, **changes}))
        return file

    def canary(self, *stages: dict[str, Any]) -> Path:
        """The example with other stages."""
        return self.spec(strategy={"kind": "canary", "stages": stages})

    @contextmanager
    def executing(self, spec: Path) -> Iterator["subprocess.Popen[str]"]:
        """Start a rollout and wait for its end in the background, as a pipeline would."""
        argv = [str(binary("temporal")), "workflow", "execute", *START, "--input-file", str(spec)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._env) as run:
            wait_until(lambda: bool(self.about("describe").stdout), within_s=30, what="it is started")
            yield run


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house")) as running:
        running.bed.load(rate=60)
        yield running


@pytest.fixture
def cli(house: House, tmp_path: Path) -> Iterator[Cli]:
    yield from calm(house, tmp_path)


@pytest.fixture(scope="class")
def waiting(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A rollout that waits for an approval, for tests that do not move it."""
    for cli in calm(house, tmp_path_factory.mktemp("specs")):
        started = cli("start", *START, "--fail-existing", "--input-file", cli.spec())
        assert started.returncode == 0, started.stderr
        assert ID in started.stdout
        cli.until(Phase.AWAITING_APPROVAL, 5)
        yield cli


def calm(house: House, files: Path) -> Iterator[Cli]:
    """A CLI in a calm house; a rollout that is left over is removed afterwards."""
    house.calm()
    cli = Cli(house, files)
    yield cli
    cli.about("terminate", "--reason", "the test is over")


def ended(run: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and whole output of an `execute`."""
    output, _ = run.communicate(timeout=60)
    return run.returncode, output


def is_a_sentence(output: str) -> None:
    """Whatever went wrong, nobody is shown the inside of a Python process."""
    for trace in ("Stack trace", "StackTrace", "Traceback", 'File "', ".py"):
        assert trace not in output, output


def told(cli: Cli) -> list[str]:
    """Types of the history's events, without workflow tasks.

    The server keeps the task in which an update was refused if something else was stored meanwhile (a heartbeat is
    enough); it says nothing about the update.
    """
    lines = cli.about("show").stdout.splitlines()
    types = [words[2] for line in lines if len(words := line.split()) > 2 and words[0].isdigit()]
    return [each for each in types if not each.startswith("WorkflowTask")]


class TestARolloutThatWaitsForAnApproval:
    """What can be seen and asked while it waits; nothing here moves it."""

    def test_a_second_start_is_refused(self, waiting: Cli) -> None:
        refused = waiting("start", *START, "--fail-existing", "--input-file", waiting.spec())
        assert refused.returncode == 1
        assert "already running" in refused.stderr

    def test_describe_shows_the_watch_with_its_live_numbers(self, waiting: Cli) -> None:
        shown = waiting.about("describe").stdout
        assert "watch_health" in shown
        assert '"verdict":"healthy"' in shown
        assert "AwaitingApproval" in shown

    def test_its_status_can_be_asked_for_under_both_spellings(self, waiting: Cli) -> None:
        for option in ("--name", "--type"):
            asked = waiting.about("query", option, "status")
            assert asked.returncode == 0
            assert '"phase":"AwaitingApproval"' in asked.stdout

    def test_metadata_describes_every_command_and_shows_the_current_details(self, waiting: Cli) -> None:
        shown = waiting.about("metadata").stdout
        for described in ("Say yes to a stage that asks.", "Stop: all traffic goes back to stable at once."):
            assert shown.count(described) == 2, "as a signal and as an update"
        for command in names.COMMANDS:
            assert command in shown
        assert "waiting for approval of stage internal QA by anybody" in shown
        assert f"`temporal workflow signal --workflow-id {ID} --name abort`" in shown

    def test_the_list_finds_it_by_service(self, waiting: Cli) -> None:
        def listed() -> str:
            return waiting("list", "-q", 'RolloutService="checkout" AND ExecutionStatus="Running"').stdout

        wait_until(lambda: ID in listed(), within_s=10, what="it is in the list")
        assert ID not in waiting("list", "-q", 'RolloutService="basket"').stdout

    @pytest.mark.parametrize(
        ("name", "inputs", "why"),
        [
            ("resume", [], "it is not held, it is AwaitingApproval"),
            ("advance", [], "there is no bake to end, it is AwaitingApproval"),
            ("approve", ['{"stage": "half"}'], "there is nothing to approve"),
            ("approve", ["7"], "a JSON object such as"),
            ("approve", ["{}", "{}"], "one JSON object is wanted, not 2 arguments"),
            ("aprove", [], "known updates"),
        ],
    )
    def test_an_update_that_is_refused_says_why_and_leaves_no_event(
        self, waiting: Cli, name: str, inputs: list[str], why: str
    ) -> None:
        words = [word for each in inputs for word in ("--input", each)]
        before = told(waiting)
        assert "ActivityTaskScheduled" in before
        refused = waiting.about("update execute", "--name", name, *words)
        assert refused.returncode == 1
        assert why in refused.stderr
        is_a_sentence(refused.stderr)
        assert told(waiting) == before

    def test_signals_that_make_no_sense_are_noted_and_change_nothing(self, waiting: Cli) -> None:
        waiting.signal("approve", '"yes"')
        waiting.signal("approve", '{"bye": "ana"}')
        waiting.signal("approve", "{}", "{}")
        waiting.signal("aprove")
        waiting.signal("advance", "[1]")
        waiting.signal("resume")
        seen = waiting.status()
        assert (seen["phase"], seen["percent"]) == (Phase.AWAITING_APPROVAL, 5)
        assert [note.removeprefix("ignored: ").split(":")[0].split(";")[0] for note in seen["notes"]] == [
            "argument of approve",
            "argument of approve",
            "argument of approve",
            "there is no signal 'aprove'",
            "argument of advance",
            "resume",
        ]
        assert "there is no signal 'aprove'" in waiting.about("metadata").stdout


def test_a_rollout_is_approved_advanced_and_promoted_by_signals_without_input(cli: Cli) -> None:
    asking = {"name": "internal QA", "percent": 5, "bake": "2s", "approval": {"within": "10m"}}
    long = {"percent": 25, "bake": "30s"}
    stages = [asking, long, {"percent": 50, "bake": "2s"}, {"percent": 100, "bake": "2s"}]
    with cli.executing(cli.canary(*stages)) as run:
        cli.until(Phase.AWAITING_APPROVAL, 5)
        cli.signal("approve")
        cli.until(Phase.BAKING, 25)
        cli.signal("advance", '"now"')
        assert "ignored: argument of advance" in cli.until(Phase.BAKING, 25)["notes"][0]
        cli.signal("advance")
        code, output = ended(run)
    assert code == 0, output
    assert "COMPLETED" in output
    assert '"outcome":"Promoted"' in output
    shown = cli.about("show").stdout.splitlines()
    events = [line for line in shown if line.split()[:1] and line.split()[0].isdigit()]
    print(f"`temporal workflow show` prints {len(shown)} lines, {len(events)} of them events")
    assert len(events) <= MOST_EVENTS
    late = cli.about("signal", "--name", "abort")
    assert late.returncode == 1
    assert "already completed" in late.stderr


def test_an_approval_by_update_answers_with_where_it_is(cli: Cli) -> None:
    with cli.executing(cli.spec()) as run:
        cli.until(Phase.AWAITING_APPROVAL, 5)
        approved = cli.about("update execute", "--name", "approve", "--input", '{"by": "ana", "comment": "fine"}')
        assert approved.returncode == 0, approved.stderr
        assert "approve: " in approved.stdout
        assert "approved by ana" in cli.status()["details"]
        stopped = cli.about("update execute", "--name", "abort", "--input", '{"by": "kim", "comment": "no"}')
        assert "aborted by kim: no" in stopped.stdout
        code, output = ended(run)
    assert code == 1
    assert "aborted by kim: no; all traffic is on 1.41.3, proven" in output


def test_an_abort_is_obeyed_whatever_is_sent_with_it(cli: Cli) -> None:
    with cli.executing(cli.canary({"percent": 25, "bake": "30s"}, {"percent": 100, "bake": "2s"})) as run:
        cli.until(Phase.BAKING, 25)
        cli.signal("abort", '"stop it!"', "2")
        code, output = ended(run)
    assert code == 1
    assert "checkout 1.42.0 in demo: Aborted at stage 25 %: aborted by somebody; all traffic is on 1.41.3" in output
    is_a_sentence(output)
    assert "ignored: argument of abort: one JSON object is wanted, not 2 arguments" in cli.status()["notes"]
    assert cli.house.percent() == 0


def test_a_rollback_exits_with_1_and_one_sentence_that_names_the_gate(cli: Cli) -> None:
    cli.house.bed.fault(0.5)
    with cli.executing(cli.canary({"percent": 25, "bake": "30s"}, {"percent": 100, "bake": "2s"})) as run:
        code, output = ended(run)
    assert code == 1
    assert "checkout 1.42.0 in demo: RolledBack at stage 25 %: gate hard-5xx: " in output
    assert "limit: above 0.05 for 2s); all traffic is on 1.41.3, proven" in output
    is_a_sentence(output)
    assert cli.house.percent() == 0


def test_a_cancel_restores_the_traffic_and_ends_canceled(cli: Cli) -> None:
    with cli.executing(cli.canary({"percent": 25, "bake": "30s"}, {"percent": 100, "bake": "2s"})) as run:
        cli.until(Phase.BAKING, 25)
        assert cli.about("cancel").returncode == 0
        code, output = ended(run)
    assert code == 1
    assert "CANCELED" in output
    assert cli.house.percent() == 0
    assert "owner" not in cli.house.mark()
    assert cli.status()["phase"] == Phase.ABORTED


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--input", '{"service": "checkout", "gatess": {}}'], "gatess: unknown field; remove it or mend its spelling"),
        (["--input", '{"service": "checkout"}'], "environment: is missing"),
        (["--input", '"checkout"'], "the spec must be a JSON object, not 'checkout'"),
        (["--input", "null"], "a rollout needs exactly one input, the spec as a JSON object, but none was given"),
        ([], "a rollout needs exactly one input, the spec as a JSON object, but none was given"),
        (["--input", "{}", "--input", "{}"], "a rollout needs exactly one input"),
        (["--type", "Rolout", "--input", "{}"], "unknown workflow type 'Rolout': use Rollout"),
    ],
)
def test_an_input_that_is_no_rollout_fails_at_once_with_a_sentence(cli: Cli, words: list[str], sentence: str) -> None:
    done = cli("execute", *START, *words)
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert sentence in done.stdout
    is_a_sentence(done.stdout + done.stderr)


def test_a_wrong_value_is_told_with_its_field_and_what_is_allowed(cli: Cli) -> None:
    stages = [{"percent": 5, "bake": "2s"}, {"percent": 105, "bake": "soon"}]
    done = cli("execute", *START, "--input-file", cli.canary(*stages))
    assert done.returncode == 1
    assert "strategy.stages[1].percent: Input should be less than or equal to 100 (got 105)" in done.stdout
    assert "strategy.stages[1].bake: " in done.stdout
    is_a_sentence(done.stdout + done.stderr)


def test_a_run_that_the_server_would_kill_is_refused(cli: Cli) -> None:
    done = cli("execute", *START, "--input-file", cli.spec(), "--run-timeout", "1h")
    assert done.returncode == 1
    assert "set policy.max_duration" in done.stdout
    assert cli.house.percent() == 0
