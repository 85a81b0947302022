"""What evaluators take without a word and then serve wrongly. Pure.

flagd takes `"state": "MAYBE"` for enabled; a `fractional` with a variant that is not there gives its share the default
in the application's code; one with a weight of 12.5 gives everybody the default variant; a default variant that is not
there makes flagd keep the whole previous file. None of it shows anywhere but in a log. So a file is looked through
before it is written, the flags of others too: they are read from the same file.
"""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_STATES = ("ENABLED", "DISABLED")
_MOST = 2_147_483_647  # the largest sum of weights that evaluators take


def typos(document: Json) -> Iterator[str]:
    """What is wrong in a flag file, as sentences that name the flag."""
    shared = document.get("$evaluators", {})
    if not isinstance(shared, dict):
        yield '"$evaluators" is no object'
        shared = {}
    yield from _in_metadata(document.get("metadata", {}), "the file")
    for key, flag in document["flags"].items():
        yield from (f"flag {key}: {problem}" for problem in _in_flag(flag, shared))


def _in_flag(flag: object, shared: Json) -> Iterator[str]:
    if not isinstance(flag, dict):
        yield "it is no object"
        return
    if flag.get("state") not in _STATES:
        yield f'"state" is {flag.get("state")!r}, not ENABLED or DISABLED'
    variants = flag.get("variants")
    if not isinstance(variants, dict) or not variants:
        yield '"variants" is no object with variants'
        return
    if len({_type(value) for value in variants.values()}) > 1:
        yield "its variants have values of different types"
    default = flag.get("defaultVariant")
    if default is not None and default not in variants:
        yield f'"defaultVariant" {default!r} is none of {", ".join(variants)}'
    yield from _in_metadata(flag.get("metadata", {}), "its metadata")
    targeting = flag.get("targeting", {})
    if targeting is not None and not isinstance(targeting, dict):
        yield '"targeting" is no object'
    yield from _in_logic(targeting, tuple(variants), shared)
    yield from _in_results(targeting, tuple(variants))


def _in_logic(logic: object, variants: tuple[str, ...], shared: Json) -> Iterator[str]:
    if isinstance(logic, list):
        for each in logic:
            yield from _in_logic(each, variants, shared)
    elif isinstance(logic, dict):
        if "$ref" in logic and logic["$ref"] not in shared:
            yield f'"$ref" {logic["$ref"]!r} is none of "$evaluators"'
        if "fractional" in logic:
            yield from _in_fractional(logic["fractional"], variants)
        for each in logic.values():
            yield from _in_logic(each, variants, shared)


def _in_fractional(arguments: object, variants: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(arguments, list) or not arguments:
        yield '"fractional" is no list'
        return
    entries = arguments if isinstance(arguments[0], list) else arguments[1:]
    total = 0
    for entry in entries:
        if not isinstance(entry, list) or not 1 <= len(entry) <= 2:
            yield f'"fractional" has {str(entry)[:40]}, which is no [variant, weight]'
            continue
        variant, weight = entry[0], entry[1] if len(entry) > 1 else 1
        if isinstance(variant, str) and variant not in variants:
            yield f'"fractional" has variant {variant!r}, which is none of {", ".join(variants)}'
        if isinstance(weight, bool) or not isinstance(weight, int | dict):
            yield f'"fractional" has weight {str(weight)[:20]} for {str(variant)[:40]}, which is no whole number'
        elif isinstance(weight, int):
            total += max(weight, 0)
    if not 0 < total <= _MOST and all(isinstance(entry, list) and isinstance(entry[-1], int) for entry in entries):
        yield f'the weights of its "fractional" add up to {total}'


def _in_results(logic: object, variants: tuple[str, ...]) -> Iterator[str]:
    """Where a rule's result is written as it is, it must be a variant."""
    if isinstance(logic, str) and logic not in variants:
        yield f"its targeting gives {logic!r}, which is none of {', '.join(variants)}"
    elif isinstance(logic, dict) and isinstance(logic.get("if"), list):
        branches = logic["if"]
        for place, each in enumerate(branches):
            if place % 2 or place == len(branches) - 1:
                yield from _in_results(each, variants)


def _in_metadata(metadata: object, where: str) -> Iterator[str]:
    if not isinstance(metadata, dict):
        yield f'"metadata" of {where} is no object' if where == "the file" else f"{where} is no object"
        return
    for name, value in metadata.items():
        if not isinstance(value, str | int | float | bool):
            yield f"{where} has {name!r} with a value that is no text, number or truth value"


def _type(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__
