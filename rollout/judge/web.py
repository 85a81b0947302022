"""`web`: the number in a JSON document, as a tick for `threshold.py`; everything else is no data, with the reason."""

import json
import re
from math import isfinite
from typing import Any, Never

from rollout.gates.web import WebGate
from rollout.judge.fetched import Fetched, Request
from rollout.judge.threshold import Tick

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_HINTS = {401: ": is the token there and valid?", 403: ": may the token read this?", 404: ": is the path right?"}


def request(gate: WebGate) -> Request:
    """What to send."""
    return Request(gate.path, headers={"Accept": "application/json"})


def judged(gate: WebGate, fetched: Fetched) -> Tick:
    """The number that came back, or why there is none. Nothing of the document is quoted: it may hold secrets."""
    if fetched.status is None:
        return Tick({}, said=f"{gate.path} does not answer within {fetched.took_ms / 1000:g} s")
    if fetched.status != 200:
        return Tick({}, said=f"{gate.path} answers HTTP {fetched.status}{_HINTS.get(fetched.status, '')}")
    if fetched.cut:
        return Tick({}, said=f"{gate.path} answers more than 64 KiB")
    try:
        document = json.loads(fetched.body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return Tick({}, said=f"{gate.path} does not answer JSON")
    try:
        number = pointed(document, gate.pointer)
    except LookupError as missing:
        return Tick({}, said=f"{gate.path} has nothing at {gate.pointer}: {missing.args[0]}")
    if isinstance(number, bool) or not isinstance(number, int | float):
        return Tick({}, said=f"{gate.path} has {_kind(number)} at {gate.pointer or 'its top'}, not a number")
    try:
        value = float(number)
    except OverflowError:
        value = float("inf")
    if not isfinite(value):
        return Tick({}, said=f"{gate.path} has a number at {gate.pointer or 'its top'} that is too large")
    return Tick({"": value})


def pointed(document: object, pointer: str) -> object:
    """What a JSON pointer points to (RFC 6901); `-`, the element after an array's last, is never there.

    Raises:
        LookupError: nothing; says at which step.
    """
    here = document
    for written in pointer.split("/")[1:]:
        step = written.replace("~1", "/").replace("~0", "~")
        match here:
            case dict() if step in here:
                here = here[step]
            case list() if _INDEX.fullmatch(step) and int(step) < len(here):
                here = here[int(step)]
            case _:
                raise LookupError(f"no {step!r} in {_kind(here)}")
    return here


def _kind(value: Any) -> str:  # noqa: ANN401 - JSON
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            return "a number"


def _refuse(constant: str) -> Never:
    raise ValueError(constant)  # NaN and Infinity are not JSON
