"""What people may say, when, and what it changes. Pure; used by the update validators and by the signal handlers.

Precedence: abort and reject beat everything, hold beats advance and approve, and after the first stop nothing counts.
"""

from datetime import datetime

from rollout import names
from rollout.happened import Approved, Phase
from rollout.messages import Command
from rollout.plan import Plan, PlannedStage
from rollout.progress import Progress
from rollout.spec import RolloutSpec


def refusal(spec: RolloutSpec, plan: Plan | None, progress: Progress, name: str, command: Command) -> str | None:
    """Why a command cannot be obeyed now, as a sentence for whoever sent it; None if it can."""
    if progress.stop is not None:
        return f"the rollout is already on its way back ({progress.stop.reason}); nothing more can be asked of it"
    if progress.phase in {Phase.PROMOTED, Phase.REFUSED}:
        return f"the rollout is over, it is {progress.phase}"
    if progress.phase is Phase.FINALIZING and name in {names.HOLD, names.RESUME, names.ADVANCE, names.APPROVE}:
        return f"the rollout is {progress.phase}; only abort and reject are possible now"
    match name:
        case names.ABORT | names.REJECT:
            return None
        case names.HOLD:
            return "it is held already" if progress.held else None
        case names.RESUME:
            return None if progress.held else f"it is not held, it is {progress.phase}"
        case names.ADVANCE:
            return _no_advance(plan, progress, command)
        case names.APPROVE:
            return _no_approval(spec, plan, progress, command)
        case _:
            return f"there is no command {name!r}; known are {', '.join(names.COMMANDS)}"


def obey(plan: Plan | None, progress: Progress, name: str, command: Command, now: datetime) -> Progress:
    """Carry out a command that `refusal` has let pass."""
    comment = " ".join((command.comment or "").split())  # one line: it goes into lists and summaries
    said = f": {comment}" if comment else ""
    who = command.by or "somebody"
    match name:
        case names.ABORT:
            return progress.stopped(Phase.ABORTED, f"aborted by {who}{said}", now, by=command.by)
        case names.REJECT:
            return progress.stopped(Phase.REJECTED, f"rejected by {who}{said}", now, by=command.by)
        case names.HOLD:
            return progress.hold(f"held by {who}{said}", command.by, now)
        case names.RESUME:
            return progress.resumed(now)
        case names.ADVANCE:
            return progress.advanced(command.by or "")
        case names.APPROVE:
            index = approval_target(plan, progress, command)
            yes = Approved(by=command.by, comment=command.comment, at=now)
            return progress if index is None else progress.approved(index, yes)
        case _:
            return progress


def approval_target(plan: Plan | None, progress: Progress, command: Command) -> int | None:
    """Index of the stage that an approval is for: the named one, or the first that still needs one."""
    for index, stage in enumerate(plan.stages if plan else ()):
        wanted = stage.approval is not None and index >= progress.stage
        if wanted and (stage.title == command.stage if command.stage else index not in progress.approvals):
            return index
    return None


def _no_advance(plan: Plan | None, progress: Progress, command: Command) -> str | None:
    if progress.held:
        return f"it is held ({progress.held.reason}); resume it first"
    if plan is None or progress.phase is not Phase.BAKING:
        return f"there is no bake to end, it is {progress.phase}"
    if progress.moving is not None:
        return f"there is no bake to end, it is on its way: {progress.moving}"
    title = plan.stages[progress.stage].title
    if command.stage not in {None, title}:
        return f"it bakes at stage {title!r}, not {command.stage!r}"
    return None


def _no_approval(spec: RolloutSpec, plan: Plan | None, progress: Progress, command: Command) -> str | None:
    if plan is None:
        return "preflight is not over yet; approve when the plan is known"
    index = approval_target(plan, progress, command)
    if index is None:
        where = f" at stage {command.stage!r}" if command.stage else ""
        return f"there is nothing to approve{where}; stages that still ask are: {_asking(plan, progress)}"
    may = plan.may_approve(plan.stages[index])
    if may is not None and command.by not in may:
        return (
            f'{command.by or "somebody without a name"} may not approve it; send {{"by": …}} as one of {", ".join(may)}'
        )
    if spec.approvals.four_eyes and (command.by or "").strip() in {"", plan.started_by}:
        return f"four eyes: {plan.started_by} started it, so somebody else must approve, by name"
    return None


def _asking(plan: Plan, progress: Progress) -> str:
    titles = [stage.title for index, stage in enumerate(plan.stages) if _unanswered(progress, stage, index)]
    return ", ".join(titles) or "none"


def _unanswered(progress: Progress, stage: PlannedStage, index: int) -> bool:
    return stage.approval is not None and index >= progress.stage and index not in progress.approvals
