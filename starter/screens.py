"""How a rollout looks on a terminal and in a pipe. Pure: from a sight and the time to something rich can print."""

from datetime import UTC, datetime, timedelta

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rollout.base import percent_text
from rollout.durations import text
from rollout.happened import Phase
from rollout.judge.verdict import GateState, Verdict
from rollout.plan import Plan, PlannedStage
from rollout.status import RolloutStatus
from starter.endings import Ending
from starter.exits import Exit
from starter.printing import fields, to_person, words
from starter.seeing import Sight, Work

_GOOD, _BAD, _CARE, _GOING = "green", "bold red", "yellow", "cyan"
_VERDICTS = {Verdict.HEALTHY: _GOOD, Verdict.BREACHED: _BAD, Verdict.UNDECIDED: _CARE, Verdict.NO_DATA: _CARE}


def phase_style(phase: str) -> str:
    """Colour of a phase: what went wrong is red, what wants a person is yellow."""
    if phase == Phase.PROMOTED:
        return _GOOD
    if phase in {Phase.HELD, Phase.AWAITING_APPROVAL}:
        return _CARE
    bad = {Phase.ROLLING_BACK, Phase.STUCK, Phase.ROLLED_BACK, Phase.ABORTED, Phase.REJECTED, Phase.EXPIRED}
    return _BAD if phase in bad or phase == Phase.REFUSED else _GOING


def moment(at: datetime) -> str:
    """`2026-11-22 17:12:05 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(since: datetime, now: datetime) -> str:
    """`12m5s ago`."""
    return f"{whole(now - since)} ago"


def whole(span: timedelta) -> str:
    """A time span in whole seconds: `12m5s`."""
    return text(timedelta(seconds=max(0, int(span.total_seconds()))))


def report(sight: Sight, now: datetime, end: Ending | None = None) -> list[RenderableType]:
    """Everything about a rollout, once: the fields, then the story in the workflow's own words."""
    run, status = sight.run, sight.status
    rows = fields()
    _row(rows, "rollout", run.workflow_id)
    _row(rows, "release", _release(sight))
    phase = str(sight.phase or run.phase or "not begun yet")
    rows.add_row("phase", words(phase if run.open else f"{phase} ({run.state} in Temporal)", phase_style(phase)))
    if sight.percent is not None:
        _row(rows, "percent", f"{percent_text(sight.percent)} on the candidate")
    if status and status.stage and sight.plan:
        _row(rows, "stage", f"{status.stage}, {status.progress.stage + 1} of {len(sight.plan.stages)}")
    if status and status.phase is Phase.BAKING and status.bake is not None:
        ends = f", ends about {moment(status.bake_ends_about)}" if status.bake_ends_about else ""
        _row(rows, "bake", f"{whole(sight.baked)} of {text(status.bake)}{ends}")
    if run.open:
        for name, state in sight.gates.items():
            rows.add_row("gate", _gate(name, state))
    if status and status.reason:
        _row(rows, "reason", status.reason)
    for line in _troubles(sight):
        rows.add_row("note", line)
    _row(rows, "started", f"{moment(run.started)}, {ago(run.started, now)}")
    if run.closed:
        _row(rows, "ended", f"{moment(run.closed)}, after {whole(run.closed - run.started)}")
    if end:
        rows.add_row("outcome", words(end.sentence, _GOOD if end.code is Exit.OK else _BAD))
    return [rows] if status is None else [rows, Text(), _details(status)]


def screen(sight: Sight, now: datetime) -> RenderableType:
    """The live view of `watch`."""
    phase = str(sight.phase or sight.run.phase or "not begun yet")
    percent = f" at {percent_text(sight.percent)}" if sight.percent is not None else ""
    title = words(_release(sight), "bold").append(f"   {sight.run.workflow_id}", style="dim")
    state = words(f"{phase}{percent}", phase_style(phase)).append(
        f"   started {ago(sight.run.started, now)}", style="dim"
    )
    parts: list[RenderableType] = [title, state, Text()]
    if sight.plan and sight.status:
        parts += [_ladder(sight, sight.plan, sight.status), Text()]
    parts += [_gate(name, state) for name, state in sight.gates.items()]
    if sight.status and sight.status.reason:
        parts.append(words(sight.status.reason, phase_style(phase)))
    parts += _troubles(sight)
    if sight.run.open:
        parts.append(words(f"stop it: sluice abort {sight.run.workflow_id}", "dim"))
    return Group(*parts)


def change(sight: Sight) -> tuple[object, ...]:
    """What makes a new line in a log: everything but the running of the clock, which counts by quarters of a bake."""
    status = sight.status
    bake = status.bake if status and status.phase is Phase.BAKING else None
    return (
        sight.phase,
        sight.percent,
        status.stage if status else None,
        status.reason if status else None,
        status.notes if status else None,
        int(4 * sight.baked / bake) if bake else None,
        tuple((name, state.verdict) for name, state in sight.gates.items()),
        sight.silent,
        tuple(work for work in sight.works if work.attempt > 1),
    )


def line(sight: Sight, now: datetime) -> str:
    """One line of a log."""
    status = sight.status
    words_ = [f"{now.astimezone(UTC):%H:%M:%S}"]
    if sight.percent is not None:
        words_.append(percent_text(sight.percent))
    words_.append(str(sight.phase or sight.run.phase or "not begun yet"))
    if status and status.stage:
        words_.append(status.stage)
    if status and status.phase is Phase.BAKING and status.bake is not None:
        words_.append(f"{whole(sight.baked)} of {text(status.bake)}")
    words_ += [f"{name} {state.verdict}: {state.sentence}" for name, state in sight.gates.items()]
    words_ += [status.reason] if status and status.reason else []
    words_ += [f"noted: {note}" for note in status.notes[-1:]] if status else []
    words_ += [trouble.plain for trouble in _troubles(sight, notes=False)]
    return " | ".join(" ".join(word.split()) for word in words_)


def _row(rows: Table, name: str, value: str) -> None:
    rows.add_row(name, words(value))


def _release(sight: Sight) -> str:
    status = sight.status
    if status is None:
        return sight.run.release
    return f"{status.service} {status.stable} → {status.candidate} in {status.environment}"


def _details(status: RolloutStatus) -> RenderableType:
    clean = words(status.details)
    return Markdown(clean.plain) if to_person() else clean


def _gate(name: str, state: GateState) -> Text:
    verdict = words(str(state.verdict), _VERDICTS[state.verdict])
    return words(f"{name}: ").append_text(verdict).append_text(words(f": {state.sentence}"))


def _troubles(sight: Sight, *, notes: bool = True) -> list[Text]:
    """What an operator should know beside the state: silence, blindness, attempts that failed, what was ignored."""
    found = [sight.silent] if sight.silent else []
    if sight.live and sight.run.open:
        found += [f"{what} cannot be seen: {gap.reason}" for what, gap in sight.live.unseen.items()]
    found += [_attempt(work) for work in sight.works if work.attempt > 1 or work.failure]
    if notes and sight.status:
        found += sight.status.notes
    return [words(" ".join(sentence.split()), _CARE) for sentence in found]


def _attempt(work: Work) -> str:
    return f"{work.name}, attempt {work.attempt}: {work.failure or 'running'}"


def _ladder(sight: Sight, plan: Plan, status: RolloutStatus) -> Table:
    rungs = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(4):
        rungs.add_column(no_wrap=True)
    for index, stage in enumerate(plan.stages):
        rungs.add_row(
            "▶" if index == status.progress.stage and sight.run.open else "",
            words(stage.title),
            percent_text(stage.percent),
            _rung(sight, status, stage, index),
        )
    return rungs


def _rung(sight: Sight, status: RolloutStatus, stage: PlannedStage, index: int) -> RenderableType:
    progress = status.progress
    if index > progress.stage or not progress.records:
        asks = ", asks for approval" if stage.approval else ""
        return words(f"bake {text(stage.bake)}{asks}", "dim")
    if index == progress.stage and status.phase is Phase.BAKING:
        total = stage.bake.total_seconds() or 1.0
        bar = ProgressBar(total=total, completed=min(total, sight.baked.total_seconds()), width=30)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(bar, f"{whole(sight.baked)} of {text(stage.bake)}")
        return grid
    said = f"baked {whole(progress.records[index].baked)}"
    if index in progress.approvals:
        said += f", approved by {progress.approvals[index].by or 'somebody'}"
    elif index == progress.stage and status.phase is Phase.AWAITING_APPROVAL:
        said += ", waits for approval"
    return words(said, _GOOD if index < progress.stage else "")
