"""What is wrong with an input, in sentences: the field, what it got, what is allowed."""

from typing import Any

from pydantic import ValidationError

from rollout.spec import RolloutSpec


def complaints(error: ValidationError) -> tuple[str, ...]:
    """One sentence a mistake: `strategy.stages[0].percent: … (got 105)`."""
    return tuple(complaint(found["loc"], found["msg"], found["type"], found["input"]) for found in error.errors())


def complaint(loc: tuple[int | str, ...], message: str, kind: str, got: object) -> str:
    """One mistake as a sentence."""
    where = place(loc)
    if kind == "extra_forbidden":
        return f"{where}: unknown field; remove it or mend its spelling"
    if kind == "missing":
        return f"{where}: is missing"
    shown = repr(got)
    tail = f" (got {shown})" if len(shown) <= 60 and kind != "value_error" else ""
    message = message.removeprefix("Value error, ")
    return f"{where}: {message}{tail}" if where else message


def place(loc: tuple[int | str, ...]) -> str:
    """A pydantic location as people write it: `strategy.stages[0].percent`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def read_spec(inputs: tuple[Any, ...]) -> RolloutSpec:
    """Make a spec of a workflow's inputs, whatever they are.

    Raises:
        ValueError: with every mistake, one a line.
    """
    if len(inputs) != 1 or inputs[0] is None:
        got = "none was given" if not inputs or inputs[0] is None else f"{len(inputs)} were given"
        raise ValueError(f"a rollout needs exactly one input, the spec as a JSON object, but {got}")
    if not isinstance(inputs[0], dict):
        raise ValueError(f"the spec must be a JSON object, not {str(inputs[0])[:60]!r}")  # noqa: TRY004 - one type for all
    try:
        return RolloutSpec.model_validate(inputs[0])
    except ValidationError as error:
        raise ValueError("the spec is not valid:\n" + "\n".join(complaints(error))) from error
