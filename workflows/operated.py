"""What people may say to a rollout and ask of it: six commands as signals and as updates, two queries.

Handlers only change the progress. They never wait, never raise (a signal handler that raises would fail the run and
skip the way back) and accept whatever a CLI can send: nothing, garbage, two arguments. An update is refused by its
validator, so the caller hears why and the history keeps no trace; a signal has no caller, so the reason goes to the
current details.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from rollout import commands, names, story
from rollout.base import percent_text
from rollout.complaints import read_spec
from rollout.happened import Phase
from rollout.messages import Command, read_command
from rollout.plan import Plan
from rollout.progress import Progress
from rollout.spec import RolloutSpec
from rollout.status import RolloutStatus, status
from workflows import visibility

DESCRIPTIONS = {
    names.APPROVE: 'Say yes to a stage that asks. Optional JSON: {"by": "ana", "comment": "...", "stage": "half"}',
    names.REJECT: 'Say no: all traffic goes back to stable. Optional JSON: {"by": "ana", "comment": "..."}',
    names.HOLD: 'Stop the bake clock; nothing moves until resume. Optional JSON: {"by": "ana", "comment": "..."}',
    names.RESUME: 'Go on after a hold; a drifted route is put right. Optional JSON: {"by": "ana"}',
    names.ADVANCE: 'End this bake now and go on. Optional JSON: {"by": "ana", "stage": "half"}',
    names.ABORT: 'Stop: all traffic goes back to stable at once. Optional JSON: {"by": "ana", "comment": "..."}',
}
_STOPPING = {names.ABORT, names.REJECT, names.HOLD}


class _Hearer(Protocol):
    def signalled(self, name: str, arguments: tuple[Any, ...]) -> None: ...
    def updated(self, name: str, arguments: tuple[Any, ...]) -> str: ...
    def refuse_update(self, name: str, arguments: tuple[Any, ...]) -> None: ...


def _signal(name: str) -> Callable[..., Any]:
    async def handle(self: _Hearer, *arguments: Any) -> None:  # noqa: ANN401 - anything may be sent
        self.signalled(name, arguments)

    handle.__name__ = f"{name}_signal"
    return workflow.signal(name=name, description=DESCRIPTIONS[name])(handle)


def _update(name: str) -> Callable[..., Any]:
    async def handle(self: _Hearer, *arguments: Any) -> str:  # noqa: ANN401 - anything may be sent
        return self.updated(name, arguments)

    def validate(self: _Hearer, *arguments: Any) -> None:  # noqa: ANN401 - anything may be sent
        self.refuse_update(name, arguments)

    handle.__name__, validate.__name__ = f"{name}_update", f"{name}_validator"
    update = workflow.update(name=name, description=DESCRIPTIONS[name])(handle)
    update.validator(validate)
    return update


class Operated:
    """A rollout's state, and the people who act on it."""

    def __init__(self, inputs: tuple[Any, ...]) -> None:
        self._progress = Progress()
        self._plan: Plan | None = None
        self._spec: RolloutSpec | None = None
        self._complaint = ""
        try:
            self._spec = read_spec(inputs)
        except ValueError as error:
            self._complaint = str(error)

    approve_signal = _signal(names.APPROVE)
    reject_signal = _signal(names.REJECT)
    hold_signal = _signal(names.HOLD)
    resume_signal = _signal(names.RESUME)
    advance_signal = _signal(names.ADVANCE)
    abort_signal = _signal(names.ABORT)
    approve_update = _update(names.APPROVE)
    reject_update = _update(names.REJECT)
    hold_update = _update(names.HOLD)
    resume_update = _update(names.RESUME)
    advance_update = _update(names.ADVANCE)
    abort_update = _update(names.ABORT)

    @workflow.signal(dynamic=True)
    async def unknown_signal(self, name: str, _arguments: Sequence[RawValue]) -> None:
        """A signal that does not exist is noted instead of being silently kept for ever."""
        known = ", ".join(names.COMMANDS)
        self._to(self._progress.noted(f"ignored: there is no signal {name!r}; known are {known}"))

    @property
    def spec(self) -> RolloutSpec:
        """The spec; `_begin` has refused a run without one."""
        assert self._spec is not None  # noqa: S101 - a bug, not a state
        return self._spec

    @property
    def plan(self) -> Plan:
        """The plan; only asked for after preflight."""
        assert self._plan is not None  # noqa: S101 - a bug, not a state
        return self._plan

    @property
    def _owner(self) -> str:
        return workflow.info().workflow_id

    @workflow.query(name=names.STATUS, description="Where the rollout is, as JSON")
    def status(self) -> RolloutStatus | None:
        """Where the rollout is."""
        return status(self._spec, self._plan, self._progress) if self._spec else None

    @workflow.query(name=names.PLAN, description="What will be done, as JSON; null until preflight is over")
    def planned(self) -> Plan | None:
        """What will be done."""
        return self._plan

    def signalled(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Obey a signal, or note why not; what stops is obeyed even with an unusable argument, what goes on is not."""
        with self._surviving(name):
            command, unusable = read_command(arguments)
            if unusable:
                self._to(self._progress.noted(f"ignored: argument of {name}: {unusable}"))
                if name not in _STOPPING:
                    return
            if reason := self._refusal(name, command):
                self._to(self._progress.noted(f"ignored: {name}: {reason}"))
            else:
                self._obey(name, command)

    def refuse_update(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Tell the caller why an update cannot be obeyed; leaves no trace in the history."""
        command, unusable = read_command(arguments)
        if reason := unusable or self._refusal(name, command):
            raise ApplicationError(f"{name}: {reason}", type="Refused", non_retryable=True)

    def updated(self, name: str, arguments: tuple[Any, ...]) -> str:
        """Obey an update that was let pass."""
        with self._surviving(name):
            command, _ = read_command(arguments)
            self._obey(name, command)
        progress = self._progress
        if progress.stop or progress.held:
            return f"{name}: {progress.stop.reason if progress.stop else progress.held.reason if progress.held else ''}"
        return f"{name}: accepted, {progress.phase} at {percent_text(progress.percent)}"

    @contextmanager
    def _surviving(self, name: str) -> Iterator[None]:
        """A bug of ours in a command must not end the run, which would skip the way back, nor keep it from stopping."""
        try:
            yield
        except Exception as bug:  # noqa: BLE001
            note = f"internal error in {name}, please report it: {type(bug).__name__}: {bug}"
            progress = self._progress.noted(note)
            stops = name in {names.ABORT, names.REJECT}
            self._to(progress.stopped(Phase.ABORTED, note, workflow.now()) if stops else progress)

    def _refusal(self, name: str, command: Command) -> str | None:
        if self._spec is None:
            return self._complaint
        return commands.refusal(self._spec, self._plan, self._progress, name, command)

    def _obey(self, name: str, command: Command) -> None:
        self._to(commands.obey(self._plan, self._progress, name, command, workflow.now()))

    def _to(self, progress: Progress) -> None:
        before, self._progress = self._progress, progress
        if self._spec is not None:
            visibility.update(before, progress)
            self._tell(self._spec)

    def _tell(self, spec: RolloutSpec) -> None:
        """Show where we are; the way back must not depend on finding words for it."""
        try:
            details = story.details(spec, self._plan, self._progress)
        except Exception as bug:  # noqa: BLE001
            details = f"{self._progress.phase}; there are no words for it, please report: {type(bug).__name__}: {bug}"
        workflow.set_current_details(details)
