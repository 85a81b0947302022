"""A spec as a file: read, checked, and complained about by file name and line.

What is kept is the value as it was written, without defaults: it is what Temporal shall show as the run's input, and
what a newer worker may give newer defaults to.
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from rollout.complaints import complaint, mistakes, place
from rollout.errors import Refused
from rollout.plan import Facts, plan
from rollout.spec import RolloutSpec
from starter.exits import Exit, Sorry
from starter.yamlfile import Located, Location, Unreadable, read_yaml

STDIN = "-"


@dataclass(frozen=True)
class SpecFile:
    """A valid spec.

    Attributes:
        name: The file's name as it was given; `stdin` for `-`.
        written: The spec as a JSON object, as written.
        spec: The same, checked, with every default.
    """

    name: str
    written: dict[str, Any]
    spec: RolloutSpec


@dataclass(frozen=True)
class Complaint:
    """One mistake: its line, counted from 1, and a sentence that begins with the field."""

    line: int
    sentence: str


class BadSpec(Sorry):
    """The file is no valid spec; `str()` is one mistake a line: `checkout.yaml:12: strategy.stages[0]: …`."""

    def __init__(self, name: str, complaints: list[Complaint]) -> None:
        super().__init__(*(f"{name}:{found.line}: {found.sentence}" for found in complaints))
        self.complaints = complaints


def load(source: str) -> SpecFile:
    """Read a spec and check all that can be told without asking anybody.

    Args:
        source: A file's name, or `-` for standard input.

    Raises:
        BadSpec: with every mistake.
        Sorry: there is no such file.
    """
    name = "stdin" if source == STDIN else source
    text = _text(source, name)
    try:
        located = _json(text) if name.endswith(".json") else _yaml(text)
    except Unreadable as error:
        raise BadSpec(name, [Complaint(error.line, str(error))]) from error
    except RecursionError as error:
        raise BadSpec(name, [Complaint(1, "it is nested too deeply")]) from error
    if not isinstance(located.value, dict):
        raise BadSpec(name, [Complaint(1, "a spec is a mapping: service, environment, release, …")])
    try:
        spec = RolloutSpec.model_validate(located.value)
        # What only preflight can know is taken to be in order: somebody is in every group, and somebody starts it.
        everybody: dict[str, tuple[str, ...]] = dict.fromkeys(spec.approvals.people, ("somebody",))
        plan(spec, Facts(people=everybody, started_by="whoever starts it"), owner=spec.workflow_id)
    except ValidationError as error:
        raise BadSpec(name, _complaints(error, located.lines)) from error
    except Refused as error:
        reasons = str(error).splitlines()
        raise BadSpec(name, [Complaint(_line((), reason, located.lines), reason) for reason in reasons]) from error
    return SpecFile(name, located.value, spec)


def _text(source: str, name: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    except OSError as error:
        raise Sorry(f"{name}: {error.strerror}", code=Exit.USAGE) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSpec(name, [Complaint(raw.count(b"\n", 0, error.start) + 1, "this is not UTF-8 text")]) from error


def _yaml(text: str) -> Located:
    # JSON on standard input has no name that says so, and YAML takes almost all of it: but not tabs, not every escape.
    if text.lstrip().startswith("{"):
        try:
            return _json(text)
        except Unreadable:
            pass  # a YAML flow mapping then, or broken; YAML's own complaint is as good
    return read_yaml(text)


def _json(text: str) -> Located:
    as_yaml = text.replace("\t", " ")  # JSON has tabs between its tokens only, and YAML none at all
    try:
        value = json.loads(text, parse_constant=_no_number, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        raise Unreadable(error.lineno, f"this is not JSON: {error.msg}") from error
    except ValueError as error:
        read_yaml(as_yaml)  # says the same with the line
        raise Unreadable(1, str(error)) from error
    try:
        return Located(value, read_yaml(as_yaml).lines)
    except Unreadable:  # the few things that JSON has and YAML has not, such as a colon on the next line
        return Located(value, {(): 1})


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _complaints(error: ValidationError, lines: dict[Location, int]) -> list[Complaint]:
    found = [
        Complaint(_line(mistake["loc"], mistake["msg"], lines), _sentence(mistake["loc"], mistake))
        for mistake in mistakes(error)
    ]
    return sorted(found, key=lambda complaint: complaint.line)


def _sentence(loc: Location, mistake: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    sentence = complaint(loc, mistake["msg"], mistake["type"], mistake["input"])
    # `candidate: 1.10` is the number 1.1 before anybody could ask; only quotes keep a version a version.
    unquoted = mistake["type"] == "string_type" and isinstance(mistake["input"], bool | int | float)
    return f"{sentence}; write it in quotes" if unquoted else sentence


def _line(loc: Location, message: str, lines: dict[Location, int]) -> int:
    """The line of the innermost part of a location that was written; a union's tag in it was not."""
    at: Location = ()
    for part in loc:
        if (*at, part) in lines:
            at = (*at, part)
    if at == ():
        at = _named_place(message, lines)
    return lines[at]


def _named_place(message: str, lines: dict[Location, int]) -> Location:
    """The longest place that a sentence about the whole spec begins with: `strategy.stages[0] (half).bake: …`."""
    sentence = re.sub(r"^(\S+) \([^)]*\)", r"\1", message.removeprefix("Value error, "))
    begun = [at for at in lines if at and re.match(rf"{re.escape(place(at))}(?![\w-])", sentence)]
    return max(begun, key=len, default=())
