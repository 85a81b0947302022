"""`validate`, `schema`, `plan`: everything that can be said about a spec without a server."""

from typing import Annotated, Any

import typer

from activities.learning import Learnt
from rollout.base import percent_text
from rollout.durations import text
from rollout.gates import Gate
from rollout.plan import PlannedStage, shortest, stages
from rollout.spec import RolloutSpec
from starter.exits import Exit
from starter.options import JsonOption, SpecArgument
from starter.printing import fields, show, show_json, table, words
from starter.specfile import BadSpec, load

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KINDS_BY_DEFAULT = ("canary", "threshold")  # what a strategy, or a gate, without a kind is


def validate(source: SpecArgument, *, as_json: JsonOption = False) -> Exit:
    """Check a spec: every mistake, with its line.

    Exits with 1 if there is one.
    """
    try:
        file = load(source)
    except BadSpec as error:
        if not as_json:
            raise
        found = [{"line": found.line, "sentence": found.sentence} for found in error.complaints]
        show_json({"valid": False, "complaints": found})
        return error.code
    if as_json:
        show_json({"valid": True, "workflow_id": file.spec.workflow_id, "spec": file.written})
    else:
        show(words(f"{file.name}: ok"), words(_summary(file.spec)))
    return Exit.OK


def schema() -> Exit:
    """Print the JSON Schema of a spec, for editors."""
    show_json(spec_schema())
    return Exit.OK


def show_plan(
    source: SpecArgument,
    *,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Ask the metrics servers what each bake can see at today's traffic.")
    ] = False,
    as_json: JsonOption = False,
) -> Exit:
    """Show what a spec would do.

    Stages, bakes, gates, approvals and the least time it takes. Asks no server but, if told to, the gates' metrics
    servers, by the names in the worker's settings (SLUICE_CONFIG): what worsening each bake would see.
    """
    spec = load(source).spec
    learnt = {}
    if prometheus:
        from starter.asking import ask  # noqa: PLC0415 - brings every client of every backend

        learnt = ask(spec)
    if as_json:
        judged = {"judged": {name: _judged_object(found) for name, found in learnt.items()}} if prometheus else {}
        show_json(_plan_object(spec) | judged)
        return Exit.REFUSED if any(found.problem for found in learnt.values()) else Exit.OK
    rungs = table("STAGE", "PERCENT", "BAKE", "GATES", "APPROVAL")
    for stage in stages(spec):
        gates = ", ".join(stage.gates) or "none"
        rungs.add_row(
            words(stage.title), percent_text(stage.percent), text(stage.bake), words(gates), words(_approval(stage))
        )
    rest = fields()
    for route in spec.routes:
        rest.add_row("route", words(str(route)))
    for name, gate in spec.gates.items():
        rest.add_row("gate", words(f"{name}: bad when {gate.limit}, then {_then(spec, name, gate)}"))
    rest.add_row("shortest", words(_least(spec)))
    rest.add_row("longest", words(f"{text(spec.policy.max_duration)}, then it goes back"))
    for name, found in learnt.items():
        for line in _seen(found):
            rest.add_row(f"{name} sees", words(line))
    show(words(_summary(spec)), rungs, rest)
    return Exit.REFUSED if any(found.problem for found in learnt.values()) else Exit.OK


def spec_schema() -> dict[str, Any]:
    """The JSON Schema of a spec, draft 2020-12.

    `kind` is required where another kind could be meant: pydantic tells the members of a union apart before it looks at
    their fields, a schema cannot.
    """
    schema = RolloutSpec.model_json_schema(by_alias=True)
    for definition in schema["$defs"].values():
        kind = definition.get("properties", {}).get("kind", {})
        if "const" in kind and kind["const"] not in KINDS_BY_DEFAULT:
            definition["required"] = ["kind", *definition.get("required", [])]
    return {"$schema": DIALECT, **schema}


def _summary(spec: RolloutSpec) -> str:
    ladder = " → ".join(percent_text(stage.percent) for stage in stages(spec))
    release = f"{spec.service} {spec.release.stable} → {spec.release.candidate} in {spec.environment}"
    return f"{release}: {spec.strategy.kind} {ladder} on {' and '.join(map(str, spec.routes))}"


def _approval(stage: PlannedStage) -> str:
    if stage.approval is None:
        return ""
    who = " or ".join(stage.approval.from_) or "anybody"
    when = "before" if stage.approval.before else "after the bake"
    return f"{who}, {when}, within {text(stage.approval.within)}, else {stage.approval.then}"


def _then(spec: RolloutSpec, name: str, gate: Gate) -> str:
    """What a breach does: flags first, if any are named for it."""
    flags = [each for each in spec.mitigations if name in each.when]
    if not flags:
        return gate.on_breach
    off = ", then ".join(f"flag {each.flag} off, watched for {text(each.then_watch)}" for each in flags)
    return f"{off}; still bad: {gate.on_breach}"


def _least(spec: RolloutSpec) -> str:
    asking = sum(1 for stage in stages(spec) if stage.approval)
    people = f", and {asking} approval{'s' if asking > 1 else ''}" if asking else ""
    return f"{text(shortest(stages(spec)))} of bakes{people}"


def _seen(found: Learnt) -> list[str]:
    """What a gate can see, a line a stage; or why it cannot be used."""
    if found.problem:
        return [f"refused: {found.problem}"]
    sees = [each.sentence for each in found.judged.sees]
    return [*sees, f"dispersion {found.judged.phi:.3g}, {found.judged.dispersion}", *found.notes]


def _judged_object(found: Learnt) -> dict[str, Any]:
    told = {"problem": found.problem, "notes": list(found.notes)}
    return found.judged.model_dump(mode="json") | told | {"sentences": [each.sentence for each in found.judged.sees]}


def _plan_object(spec: RolloutSpec) -> dict[str, Any]:
    return {
        "workflow_id": spec.workflow_id,
        "service": spec.service,
        "environment": spec.environment,
        "candidate": spec.release.candidate,
        "stable": spec.release.stable,
        "strategy": spec.strategy.kind,
        "stages": [stage.model_dump(mode="json", by_alias=True) for stage in stages(spec)],
        "routes": [str(route) for route in spec.routes],
        "gates": {name: gate.limit for name, gate in spec.gates.items()},
        "mitigations": [each.model_dump(mode="json", by_alias=True) for each in spec.mitigations],
        "shortest_s": shortest(stages(spec)).total_seconds(),
        "longest_s": spec.policy.max_duration.total_seconds(),
    }


def add(app: typer.Typer) -> None:
    """Give the application these commands."""
    app.command()(validate)
    app.command()(schema)
    app.command("plan")(show_plan)
