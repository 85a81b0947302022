"""The demo's screens: a live one for people at a terminal, lines for everything else.

Both draw the same `Scene`. A line is printed only when something changed that a reader of a log wants to know.
"""

import sys
import time
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rollout.durations import text
from rollout.happened import Phase
from rollout.judge.verdict import GateState, Verdict
from rollout.plan import PlannedStage
from starter.demo.scene import Scene

_BAR = 28
_REFRESH_PER_S = 5
_VERDICT = max(len(verdict) for verdict in Verdict)
_COLOURS = {
    Verdict.HEALTHY: "green",
    Verdict.BREACHED: "bold red",
    Verdict.UNDECIDED: "yellow",
    Verdict.NO_DATA: "dim",
}
_PHASE_COLOURS = {
    Phase.PROMOTED: "bold green",
    Phase.ROLLING_BACK: "bold red",
    Phase.ROLLED_BACK: "bold red",
    Phase.ABORTED: "bold red",
    Phase.STUCK: "bold red",
    Phase.HELD: "bold yellow",
    Phase.MITIGATING: "bold yellow",
    Phase.AWAITING_APPROVAL: "bold magenta",
}


class Screen(Protocol):
    """Where the demo shows what goes on."""

    def show(self, scene: Scene) -> None:
        """Show a moment; called several times a second."""

    def say(self, sentence: str) -> None:
        """Tell something that stays readable."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def screen(*, as_json: bool) -> Screen:
    """The right screen: live on a terminal, lines in a pipe; lines on standard error when the output is JSON."""
    if as_json or not sys.stdout.isatty():
        return Lines(Console(stderr=as_json, highlight=False, emoji=False, soft_wrap=True))
    console = Console(highlight=False, emoji=False)
    return Lines(console) if console.is_dumb_terminal else LiveScreen(console)


class Lines:
    """One line whenever something changed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()
        self._last: tuple[object, ...] = ()
        self._link = ""

    def show(self, scene: Scene) -> None:
        """Print the moment if it differs from the last one in what matters."""
        if scene.link and scene.link != self._link:
            self._link = scene.link
            self.say(f"{scene.scenario.name}: {scene.link}")
        new = (scene.scenario.name, scene.phase, scene.percent, scene.doing, *_verdicts(scene))
        if new == self._last:
            return
        self._last = new
        parts = [f"{scene.scenario.name}: {scene.doing}"]
        if scene.load and scene.status:
            parts[0] = f"{scene.scenario.name}: {scene.phase} at {scene.percent:g} %: {scene.doing}"
            parts.append(f"observed {scene.observed_percent:.0f} %")
            parts.append(f"{scene.load.dropped_requests} dropped, {scene.load.bad_responses} bad")
        if scene.phase == Phase.HELD and scene.status and scene.status.reason:
            parts.append(scene.status.reason)
        parts += [f"{name} {state.verdict}: {state.sentence}" for name, state in scene.gates.items()]
        self.say(" | ".join(parts))

    def say(self, sentence: str) -> None:
        """Print it with the seconds since the demo began."""
        self._console.print(f"{time.monotonic() - self._began_s:6.1f} s  {sentence}", markup=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class LiveScreen:
    """A picture that is drawn anew several times a second, also while a part is being started."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()
        self._scene: Scene | None = None
        self._live = Live(
            console=console, get_renderable=self._picture, refresh_per_second=_REFRESH_PER_S, transient=True
        )

    def show(self, scene: Scene) -> None:
        """Draw this from now on."""
        self._scene = scene

    def say(self, sentence: str) -> None:
        """Print it above the picture."""
        self._console.print(f"[dim]{time.monotonic() - self._began_s:6.1f} s[/]  {escape(sentence)}")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _picture(self) -> RenderableType:
        if self._scene is None:
            return Text("starting …", style="dim")
        return picture(self._scene, time.monotonic() - self._began_s)


def picture(scene: Scene, seconds: float) -> RenderableType:
    """The whole picture of a moment.

    Args:
        scene: The moment.
        seconds: Since the demo began.
    """
    head = Text.assemble(
        ("Sluice demo", "bold"),
        f"  {scene.number} of {scene.of}  ",
        (scene.scenario.name, "bold cyan"),
        f": {scene.scenario.title}",
        (f"   {int(seconds) // 60}:{int(seconds) % 60:02}", "dim"),
    )
    return Padding(
        Group(head, Text(), _ladder(scene), Text(), _facts(scene)), (1, 1, 0, 1)
    )  # three long gates just fit into 80 × 24


def _ladder(scene: Scene) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    for index, stage in enumerate(scene.stages):
        baked = scene.baked(index)
        share = min(1.0, baked / stage.bake) if stage.bake else 1.0
        here = scene.status is not None and scene.percent == stage.percent and scene.status.stage == stage.title
        table.add_row(
            Text(f"{stage.percent:g} %", style="bold" if here else "dim"),
            Text(stage.title, style="bold" if here else "dim"),
            _bar(share, "green" if share >= 1 else "cyan"),
            Text(f"{baked.total_seconds():.0f}s of {text(stage.bake)}" if baked else text(stage.bake), style="dim"),
            _remark(scene, index, stage, here=here),
        )
    return table


def _remark(scene: Scene, index: int, stage: PlannedStage, *, here: bool) -> Text:
    progress = scene.status.progress if scene.status else None
    approved = progress.approvals.get(index) if progress else None
    remarks = [f"approved by {approved.by or 'somebody'}"] if approved else ["asks for approval"] * bool(stage.approval)
    return Text("  ".join(["◀ here"] * here + remarks), style="bold" if here else "dim")


def _facts(scene: Scene) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_row("phase", _phase(scene))
    if scene.flag:
        table.add_row("flag", Text(scene.flag))
    commanded, observed = scene.percent, scene.observed_percent
    table.add_row("commanded", _bar(commanded / 100, "blue") + Text(f"  {commanded:g} % of the traffic"))
    table.add_row("observed", _bar(observed / 100, "blue") + Text(f"  {observed:.1f} % of the visitors' last answers"))
    for name, state in scene.gates.items():
        table.add_row(name, _gate(state))
    if scene.load:
        table.add_row("visitors", _visitors(scene.load.requests, scene.load.dropped_requests, scene.load.bad_responses))
    table.add_row("now", Text(scene.doing, style="bold"))
    if scene.link:
        table.add_row("see", Text(scene.link, style=f"link {scene.link}", overflow="fold"))
    return table


def _phase(scene: Scene) -> Text:
    phase = Text(scene.phase, style=_PHASE_COLOURS.get(Phase(scene.phase), "bold") if scene.status else "dim")
    # That a flag has helped is told by its row: the whole sentence does not fit into a small terminal.
    if scene.status and scene.status.reason and not scene.recovered:
        phase.append(f"  {scene.status.reason}", style="default")
    return phase


def _gate(state: GateState) -> Table:
    """Verdict and sentence in columns, so that a long sentence wraps beside its verdict and not below it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=_VERDICT)  # the same in every row: the sentences stay in place
    table.add_row(Text(state.verdict, style=_COLOURS[state.verdict]), Text(state.sentence))
    return table


def _visitors(requests: int, dropped: int, bad: int) -> Text:
    return Text.assemble(
        f"{requests} requests, ",
        (f"{dropped} dropped", "bold red" if dropped else "green"),
        ", ",
        (f"{bad} bad responses", "yellow" if bad else "green"),
    )


def _bar(share: float, colour: str) -> Text:
    full = round(min(1.0, max(0.0, share)) * _BAR)
    return Text.assemble(("█" * full, colour), ("░" * (_BAR - full), "dim"))


def _verdicts(scene: Scene) -> tuple[object, ...]:
    return tuple((name, state.verdict) for name, state in scene.gates.items())
