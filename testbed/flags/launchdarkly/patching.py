"""Semantic patches: instructions that are applied in order, all of them or none.

Only what a rollout needs, and what a person does beside it; any other kind is refused, as LaunchDarkly refuses kinds
that it does not know. An instruction whose outcome is there already changes nothing, which LaunchDarkly promises.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from testbed.flags.launchdarkly.shapes import Json

WHOLE = 100_000  # rollout weights are thousandths of a percent
_MOST = 64  # characters of a custom property's key, name and values, and how many values it has


class Refused(Exception):
    """LaunchDarkly's answer to a patch that it does not carry out."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def patched(flag: Json, environment: str | None, instructions: Sequence[Any]) -> Json:
    """The flag after the instructions, without new versions; the old one is left as it is.

    Args:
        flag: as the REST API shows it.
        environment: `environmentKey` of the patch.
        instructions: of the patch.

    Raises:
        Refused: one of them is not valid.
    """
    after = deepcopy(flag)
    for instruction in instructions:
        kind = instruction.get("kind") if isinstance(instruction, dict) else None
        if kind in OF_ENVIRONMENT:
            if environment is None:
                raise _invalid(f"environmentKey is required for instruction kind '{kind}'")
            OF_ENVIRONMENT[kind](after, after["environments"][environment], instruction)
        elif kind in OF_FLAG:
            OF_FLAG[kind](after, instruction)
        else:
            raise _invalid(f"instruction kind '{kind}' unsupported")
    return after


def _invalid(message: str) -> Refused:
    return Refused(400, "invalid_request", message)


def _turn_on(_: Json, config: Json, __: Json) -> None:
    config["on"] = True


def _turn_off(_: Json, config: Json, __: Json) -> None:
    config["on"] = False


def _update_fallthrough(flag: Json, config: Json, instruction: Json) -> None:
    if "experimentAllocation" in config["fallthrough"].get("rollout", {}):
        raise Refused(409, "conflict", "Flag must not have ongoing guarded rollout, progressive rollout or experiment")
    config["fallthrough"] = _choice(flag, instruction)


def _update_off(flag: Json, config: Json, instruction: Json) -> None:
    if instruction.get("variationId") is None:
        config.pop("offVariation", None)
    else:
        config["offVariation"] = _index(flag, instruction["variationId"])


def _add_targets(flag: Json, config: Json, instruction: Json) -> None:
    index, kind = _index(flag, instruction.get("variationId")), instruction.get("contextKind", "user")
    place = config["targets" if kind == "user" else "contextTargets"]
    place.append({"values": _texts(instruction), "variation": index, "contextKind": kind})


def _add_rule(flag: Json, config: Json, instruction: Json) -> None:
    number = len(config["rules"]) + 1
    clauses = [{"_id": f"clause-{number}-{at}", **each} for at, each in enumerate(instruction.get("clauses", ()))]
    choice = _choice(flag, instruction)
    config["rules"].append({"_id": f"rule-{number}", "clauses": clauses, "trackEvents": False, **choice})


def _add_properties(flag: Json, instruction: Json) -> None:
    name, values = _property(instruction)
    held = flag["customProperties"].get(instruction["key"], {"name": name, "value": []})
    merged = [*held["value"], *(each for each in values if each not in held["value"])]
    if len(merged) > _MOST:
        raise _invalid(f"a custom property has at most {_MOST} values")
    flag["customProperties"][instruction["key"]] = {"name": held["name"], "value": merged}


def _replace_properties(flag: Json, instruction: Json) -> None:
    name, values = _property(instruction)
    flag["customProperties"][instruction["key"]] = {"name": name, "value": values}


def _remove_properties(flag: Json, instruction: Json) -> None:
    held = flag["customProperties"].get(instruction.get("key"))
    if held is None:
        return
    held["value"] = [each for each in held["value"] if each not in _texts(instruction)]
    if not held["value"]:
        del flag["customProperties"][instruction["key"]]


def _add_tags(flag: Json, instruction: Json) -> None:
    flag["tags"] += [each for each in _texts(instruction) if each not in flag["tags"]]


def _update_name(flag: Json, instruction: Json) -> None:
    flag["name"] = instruction["value"]


OF_ENVIRONMENT: dict[str, Callable[[Json, Json, Json], None]] = {
    "turnFlagOn": _turn_on,
    "turnFlagOff": _turn_off,
    "updateFallthroughVariationOrRollout": _update_fallthrough,
    "updateOffVariation": _update_off,
    "addTargets": _add_targets,
    "addRule": _add_rule,
}
OF_FLAG: dict[str, Callable[[Json, Json], None]] = {
    "addCustomProperties": _add_properties,
    "replaceCustomProperties": _replace_properties,
    "removeCustomProperties": _remove_properties,
    "addTags": _add_tags,
    "updateName": _update_name,
}


def _choice(flag: Json, instruction: Json) -> Json:
    """What a rule or the fallthrough serves: one variation, or a share of each."""
    weights = instruction.get("rolloutWeights")
    if (weights is None) == ("variationId" not in instruction):
        raise _invalid("either variationId or rolloutWeights is required")
    if weights is None:
        return {"variation": _index(flag, instruction["variationId"])}
    if not isinstance(weights, dict) or not all(type(each) is int and each >= 0 for each in weights.values()):
        raise _invalid("rolloutWeights must be a map of variation IDs to whole weights")
    if sum(weights.values()) != WHOLE:
        raise _invalid(f"rolloutWeights must sum to {WHOLE}")
    by_index = {_index(flag, each): weight for each, weight in weights.items()}
    shares = [{"variation": index, "weight": by_index.get(index, 0)} for index in range(len(flag["variations"]))]
    rollout: Json = {"variations": shares, "contextKind": instruction.get("rolloutContextKind", "user")}
    if "rolloutBucketBy" in instruction:
        rollout["bucketBy"] = instruction["rolloutBucketBy"]
    return {"rollout": rollout}


def _index(flag: Json, wanted: object) -> int:
    for index, each in enumerate(flag["variations"]):
        if each["_id"] == wanted:
            return index
    raise _invalid(f"'{wanted}' is not a variation ID of this flag")


def _property(instruction: Json) -> tuple[str, list[str]]:
    values = _texts(instruction)
    words = [instruction.get("key"), instruction.get("name"), *values]
    if not all(isinstance(each, str) and 0 < len(each) <= _MOST for each in words) or len(values) > _MOST:
        raise _invalid(f"a custom property needs key, name and values of 1 to {_MOST} characters")
    return instruction["name"], values


def _texts(instruction: Json) -> list[str]:
    values = instruction.get("values")
    if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
        raise _invalid("values must be a list of strings")
    return values
