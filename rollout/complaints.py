"""What is wrong with an input, in sentences: the field, what it got, what is allowed."""

import re
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rollout.durations import text
from rollout.spec import RolloutSpec

Place = tuple[int | str, ...]

_WORDS = {  # pydantic's words for Python's things
    "^Value error, ": "",
    "^Tuple ": "List ",
    " after validation": "",
    "valid (?:dictionary|tuple)(?: or instance of .+| or object .+)?$": "JSON object",
}


def complaints(error: ValidationError) -> tuple[str, ...]:
    """One sentence a mistake: `strategy.stages[0].percent: … (got 105)`."""
    return tuple(complaint(found["loc"], found["msg"], found["type"], found["input"]) for found in mistakes(error))


def mistakes(error: ValidationError) -> list[ErrorDetails]:
    """Pydantic's findings without its echoes: a list whose only item is wrong is not too short as well."""
    found = [_about_the_kind(mistake | {"loc": _as_written(mistake["loc"])}) for mistake in error.errors()]
    places = [mistake["loc"] for mistake in found]
    return [mistake for mistake in found if mistake["type"] != "too_short" or not _is_echo(mistake["loc"], places)]


def _as_written(loc: Place) -> Place:
    """Without pydantic's note which member of a union it tried."""
    note = {"gates": 2, "routes": 2, "strategy": 1}.get(str(loc[0]), len(loc)) if loc else 0
    return (*loc[:note], *loc[note + 1 :])


def _about_the_kind(mistake: ErrorDetails) -> ErrorDetails:
    """An unknown kind is a mistake of the field `kind`, not of everything around it."""
    whole = mistake["input"]
    if mistake["type"] != "unknown_kind" or not isinstance(whole, dict):
        return mistake
    about = mistake | {"loc": (*mistake["loc"], "kind"), "input": whole.get("kind")}
    if "kind" not in whole:
        about["type"] = "missing"
    return about


def _is_echo(loc: Place, places: list[Place]) -> bool:
    return any(len(other) > len(loc) and other[: len(loc)] == loc for other in places)


def complaint(loc: Place, message: str, kind: str, got: object) -> str:
    """One mistake as a sentence."""
    where = place(loc)
    if kind == "extra_forbidden":
        return f"{where}: unknown field; remove it or mend its spelling"
    if kind == "missing":
        return f"{where}: is missing{message[message.index(';') :] if ';' in message else ''}"
    shown = text(got) if isinstance(got, timedelta) else repr(got)
    telling = kind != "value_error" or isinstance(got, str | float | int)  # our own sentences name what they are about
    tail = f" (got {shown})" if len(shown) <= 60 and telling else ""
    for theirs, ours in _WORDS.items():
        message = re.sub(theirs, ours, message)
    return f"{where}: {message}{tail}" if where else message


def place(loc: Place) -> str:
    """A pydantic location as people write it: `strategy.stages[0].percent`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc if part != "[key]")
    return "".join(parts).removeprefix(".")


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
