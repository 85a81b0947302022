"""The rollout in words: the Markdown of the UI's "current details", and the summaries of its bars.

Lists, not tables: the UI drops a table's cell padding. Built from state only, so it can be made anew at any replay. A
reader who has never seen our documentation must find: where are we, why, what is next, how do I stop it.
"""

from datetime import datetime, timedelta

from rollout import experiment, mitigating, names
from rollout.base import percent_text
from rollout.durations import text
from rollout.happened import Phase, RolloutResult
from rollout.plan import Plan, PlannedStage
from rollout.progress import Progress
from rollout.spec import RolloutSpec
from rollout.strategies import FlagStrategy

MOST_SUMMARY_BYTES = 200
MOST_DETAILS_BYTES = 20_000


def details(spec: RolloutSpec, plan: Plan | None, progress: Progress) -> str:
    """The whole story as Markdown."""
    parts = [_headline(spec, progress), _now(spec, plan, progress)]
    if plan is not None:
        parts.append("**Stages**\n\n" + "\n".join(_stage_line(plan, progress, i) for i in range(len(plan.stages))))
        parts.append(_gates(spec, plan, progress))
        parts.append(_sight(plan, progress))
        parts.append(_shown(spec, plan, progress))
    ahead = _next(spec, plan, progress)
    parts.append(ahead)
    if progress.notes:
        parts.append("**Noted**\n\n" + "\n".join(f"- {note}" for note in progress.notes))
    whole = "\n\n".join(part for part in parts if part)
    if len(whole.encode()) <= MOST_DETAILS_BYTES:
        return whole
    cut = f"\n\n(cut; the rest is in the query `{names.STATUS}`)\n\n{ahead}"
    return short(whole, MOST_DETAILS_BYTES - len(cut.encode())) + cut


def _headline(spec: RolloutSpec, progress: Progress) -> str:
    release = spec.release
    return (
        f"**{spec.service}** {release.stable} → **{release.candidate}** in {spec.environment}: "
        f"**{percent_text(progress.percent)}** on the candidate, {progress.phase}"
    )


def _now(spec: RolloutSpec, plan: Plan | None, progress: Progress) -> str:
    lines = []
    if progress.stop is not None:
        back = "going back" if progress.phase in {Phase.ROLLING_BACK, Phase.STUCK} else "reason for going back"
        lines.append(f"- {back}: {_line(progress.stop.reason)}")
    elif progress.held is not None:
        lines.append(f"- held since {_clock(progress.held.since)}: {_line(progress.held.reason)}")
    if progress.breach is not None and progress.stop is None:
        lines.append(
            f"- gate {progress.breach.gate} is breached: {_line(progress.breach.reason)}; {_flag(spec, progress)}"
        )
    if progress.blind is not None and progress.stop is None:
        lines.append(f"- bake clock stopped, health cannot be seen: {_line(progress.blind)}")
    if progress.moving is not None and progress.stop is None:
        lines.append(f"- {_motion(progress)}: {_line(progress.moving)}")
    if progress.reaching is not None and progress.reaching != progress.percent:
        writing, tried = "is being written, not proven yet", "was tried and is not proven; some of it may be in force"
        lines.append(f"- {percent_text(progress.reaching)} {writing if progress.phase is Phase.SHIFTING else tried}")
    if plan is not None and progress.phase is Phase.SHIFTING and progress.reaching is None and progress.percent:
        following = percent_text(plan.stages[progress.stage].percent)
        lines.append(f"- pods for {following} are waited for; {percent_text(progress.percent)} is watched meanwhile")
    baking = progress.phase is Phase.BAKING and progress.moving is None
    if plan is not None and baking and progress.watching_since is not None:
        stage = plan.stages[progress.stage]
        left = max(timedelta(), stage.bake - progress.baked)
        ends = f"ends about {_clock(progress.watching_since + left)} if every gate has data until then"
        doubt = "done, but not every gate says healthy yet; `advance` goes on all the same"
        lines.append(f"- bake {text(stage.bake)}: {ends if left else doubt}")
    if plan is not None and progress.phase is Phase.AWAITING_APPROVAL:
        lines.append(_asking(spec, plan, progress))
    return "\n".join(lines)


def _flag(spec: RolloutSpec, progress: Progress) -> str:
    """What is being done about a breach instead of bringing the traffic back."""
    breach, mitigation = progress.breach, mitigating.current(progress, spec)
    if breach is None or mitigation is None:
        return ""
    if not breach.off:
        return f"flag {mitigation.flag} is being turned off"
    off_at = progress.mitigated[-1].off_at if progress.mitigated else None
    since = f" since {_clock(off_at)}" if off_at else ""
    return f"flag {mitigation.flag} is off, proven{since}; watched for {text(mitigation.then_watch)}"


def _asking(spec: RolloutSpec, plan: Plan, progress: Progress) -> str:
    stage = plan.stages[progress.stage]
    if stage.approval is None or progress.waiting_since is None:
        return ""
    may = plan.may_approve(stage)
    who = "anybody" if may is None else ", ".join(may)
    eyes = f" (not {plan.started_by}, who started it)" if spec.approvals.four_eyes else ""
    until = progress.waiting_since + stage.approval.within
    asked = f"- waiting for approval of stage {stage.title} by {who}{eyes}"
    return f"{asked} until {_clock(until)}, then {stage.approval.then}"


def _stage_line(plan: Plan, progress: Progress, index: int) -> str:
    stage, record = plan.stages[index], progress.records[index]
    asks = ", asks for approval" if stage.approval else ""
    if index in progress.approvals:
        asks = f", approved by {progress.approvals[index].by or 'somebody'}"
    if index > progress.stage:
        state = "to come"
    elif index < progress.stage or progress.phase is Phase.PROMOTED:
        early = f", ended early by {record.ended_early_by}" if record.ended_early_by else ""
        state = f"done, baked {text(record.baked)}{early}"
    elif progress.stop is not None:
        spent = (record.left_at or progress.stop.at) - record.arrived_at if record.arrived_at else timedelta()
        state = f"ended here after {text(timedelta(seconds=int(spent.total_seconds())))}"
    else:
        state = _stage_now(progress, stage)
    return (
        f"- {percent_text(stage.percent)} {stage.title}: {state}{asks}"
        if stage.title != percent_text(stage.percent)
        else f"- {stage.title}: {state}{asks}"
    )


def _stage_now(progress: Progress, stage: PlannedStage) -> str:
    if not progress.arrived:
        return "now, not proven yet"
    if progress.moving is not None:
        return f"now, {_motion(progress)}"
    seen = f"{text(progress.baked)} of {text(stage.bake)} baked"
    if progress.phase is not Phase.BAKING or progress.watching_since is None:
        return f"now, {seen}"
    # While a watch runs, only the watch knows how far it is; the workflow hears it at its end.
    return f"now, baking since {_clock(progress.watching_since)}" + (f", {seen} before" if progress.baked else "")


def _gates(spec: RolloutSpec, plan: Plan, progress: Progress) -> str:
    watched = plan.stages[progress.stage].gates
    if not watched:
        return "No gate watches this stage."
    lines = []
    for name in watched:
        state = progress.gates.get(name)
        answer = f"**{state.verdict}**: {state.sentence}" if state else f"not asked yet, limit {spec.gates[name].limit}"
        lines.append(f"- {name}: {answer}")
    live = "" if progress.over else " (live numbers: Pending activities)"
    return f"**Gates**{live}\n\n" + "\n".join(lines)


def _sight(plan: Plan, progress: Progress) -> str:
    """What the running bake can see at the traffic that preflight found: a quiet gate is not a good one."""
    if progress.phase is not Phase.BAKING:
        return ""
    title = plan.stages[progress.stage].title
    found = [(name, each) for name, judged in plan.judged.items() for each in judged.sees if each.stage == title]
    return (
        "**What this bake can see**\n\n" + "\n".join(f"- {name}: {each.sentence}" for name, each in found)
        if found
        else ""
    )


def _shown(spec: RolloutSpec, plan: Plan, progress: Progress) -> str:
    """An experiment's report, as far as it goes."""
    lines = [f"- {each.sentence}" for each in experiment.effects(spec, plan, progress.gates)]
    fallen = experiment.ratio(spec, plan, progress.gates, progress.uneven)
    if fallen is not None:
        lines.append(f"- {fallen.sentence}")
    return "**What the experiment shows**\n\n" + "\n".join(lines) if lines else ""


def _next(spec: RolloutSpec, plan: Plan | None, progress: Progress) -> str:
    say = f"`temporal workflow signal --workflow-id {spec.workflow_id} --name"
    stop = f"To stop it: {say} {names.ABORT}`"
    match progress.phase:
        case Phase.PROMOTED:
            return "All traffic is on the candidate, proven. Nothing more to do."
        case Phase.ROLLED_BACK | Phase.ABORTED | Phase.REJECTED | Phase.EXPIRED:
            back = _back(progress) if progress.touched else "No traffic was ever moved."
            return f"{back} Nothing more to do."
        case Phase.REFUSED:
            return "Nothing was written. Mend the reasons and start again."
        case Phase.ROLLING_BACK:
            return f"Next: prove {way_back(spec, progress)} on every route, drain the candidate, end."
        case Phase.STUCK:
            return (
                f"**{way_back(spec, progress)} could not be proven.** The way back is tried again for ever; look at "
                "Pending activities for the reason, put it right, and it goes on by itself."
            )
        case Phase.MITIGATING if plan is not None:
            return f"Next: {_mitigating(spec, progress)}. {stop}"
        case _ if progress.held is not None:
            return f"Next: `resume`, or `abort`. To go on: {say} {names.RESUME}`. {stop}"
        case Phase.AWAITING_APPROVAL:
            name = ' --input \'{"by": "YOUR NAME"}\'' if _by_name(spec, plan, progress) else ""
            return f"Next: {_ahead(plan, progress)}. To approve: {say} {names.APPROVE}{name}`. {stop}"
        case Phase.FINALIZING:
            return f"Next: drain stable and end. {stop}"
        case _:
            return f"Next: {_ahead(plan, progress)}. {stop}"


def _back(progress: Progress) -> str:
    """Where everything is after the way back."""
    if progress.start:
        return f"The flag is back where it was, {percent_text(progress.percent)}, proven."
    return "All traffic is on stable, proven."


def way_back(spec: RolloutSpec, progress: Progress) -> str:
    """Where the way back leads: `0 %`."""
    off = isinstance(spec.strategy, FlagStrategy) and spec.strategy.way_back == "off"
    return "off" if off else percent_text(progress.start)


def _mitigating(spec: RolloutSpec, progress: Progress) -> str:
    breach, mitigation = progress.breach, mitigating.current(progress, spec)
    if breach is None or mitigation is None:
        return ""
    after = (
        f"watch {text(mitigation.then_watch)}; recovered, it is held for a person, else the next flag or the way back"
    )
    return after if breach.off else f"turn off flag {mitigation.flag}, prove it, {after}"


def _by_name(spec: RolloutSpec, plan: Plan | None, progress: Progress) -> bool:
    named = plan is not None and plan.may_approve(plan.stages[progress.stage]) is not None
    return named or spec.approvals.four_eyes


def _ahead(plan: Plan | None, progress: Progress) -> str:
    if plan is None:
        return "preflight, then the plan"
    stage = plan.stages[progress.stage]
    if progress.phase is Phase.AWAITING_APPROVAL:
        return "an approval, then " + _after(plan, progress, stage)
    if stage.rolls:
        return f"every pod is replaced, then {_after(plan, progress, stage)}"
    if progress.moving is not None:
        return f"arrive at {percent_text(stage.percent)}, then a bake of {text(stage.bake)}"
    if not progress.arrived:
        return f"prove {percent_text(stage.percent)}, then a bake of {text(stage.bake)}"
    asks = stage.approval is not None and progress.stage not in progress.approvals
    return "after the bake " + ("an approval, then " if asks else "") + _after(plan, progress, stage)


def _after(plan: Plan, progress: Progress, stage: PlannedStage) -> str:
    if stage.rolls:
        return f"a bake of {text(plan.stages[progress.stage + 1].bake)} with all of them new"
    if not progress.arrived:
        return percent_text(stage.percent)
    if progress.stage + 1 < len(plan.stages):
        return percent_text(plan.stages[progress.stage + 1].percent)
    return "drain stable and end"


def _motion(progress: Progress) -> str:
    if progress.goes_on is not None:
        return f"on its way, **could not be paused** ({_line(progress.goes_on)})"
    return "paused" if progress.paused else "on its way"


def _line(said: str) -> str:
    return " ".join(said.split())


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def ending(result: RolloutResult) -> str:
    """The one message of a closed run: what a person sees in the CLI and in the UI's list."""
    release = f"{result.service} {result.candidate} in {result.environment}"
    match result.outcome:
        case Phase.PROMOTED:
            return f"{release}: promoted"
        case Phase.REFUSED:
            return f"{release}: refused: {result.reason}"
        case _:
            back = "; no traffic was moved"
            if result.percents_seen:
                all_back = f"all traffic is on {result.stable}"
                back = f"; {f'the flag is at {percent_text(result.percent)}' if result.percent else all_back}, proven"
            where = f" at stage {result.stage}" if result.stage else ""
            return f"{release}: {result.outcome}{where}: {result.reason}{back}"


def shift_summary(spec: RolloutSpec, before: float, after: float) -> str:
    """`5 % → 25 % on envoy edge-1/checkout`."""
    places = " and ".join(str(route) for route in spec.routes)
    return short(f"{percent_text(before)} → {percent_text(after)} on {places}")


def pause_summary(spec: RolloutSpec) -> str:
    """`pause rolling-update prod-eu/shop/Deployment checkout where it is`."""
    return short(f"pause {' and '.join(str(route) for route in spec.routes)} where it is")


def short(summary: str, most_bytes: int = MOST_SUMMARY_BYTES) -> str:
    """Cut a summary to what the server takes, in bytes, at a character boundary."""
    return summary.encode()[:most_bytes].decode(errors="ignore")
