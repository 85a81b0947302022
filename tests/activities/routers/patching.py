"""JSON patches as the API server applies them (RFC 6902), for the operations that adapters send."""

import copy
from collections.abc import Iterable
from typing import Any


def patched(found: dict[str, Any], operations: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The object after a patch."""
    made = copy.deepcopy(found)
    for operation in operations:
        *way, last = (step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:])
        parent: Any = made
        for step in way:
            parent = parent[int(step)] if isinstance(parent, list) else parent[step]
        _carry_out(parent, last, operation)
    return made


def _carry_out(parent: Any, last: str, operation: dict[str, Any]) -> None:
    value = copy.deepcopy(operation.get("value"))
    match operation["op"], parent:
        case "add", list():
            assert 0 <= int(last) <= len(parent)
            parent.insert(int(last), value)
        case "add", dict():
            parent[last] = value
        case "replace", dict():
            assert last in parent
            parent[last] = value
        case "remove", list():
            del parent[int(last)]
        case "remove", dict():
            del parent[last]
        case other:
            raise AssertionError(other)
