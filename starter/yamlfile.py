"""YAML as a plain value, together with the line of everything in it.

PyYAML reads YAML 1.1, where `1:30` is 90, `on` and `no` are booleans, a date is an object and a key that is there twice
silently wins. A spec is sent as JSON, so it is read by YAML 1.2's core schema (what JSON has, and nothing else), keys
are the text as written, and doubled keys, tags, numbers that JSON lacks and self-references are refused by line. The
lines come from the composed nodes; a loader that keeps them inside the values was rejected, because the value must stay
exactly what is sent to Temporal.
"""

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

import yaml

Location = tuple[int | str, ...]
"""Where something is: keys and indexes from the root, as pydantic gives them."""

MOST_NODES: Final = 50_000  # an alias of aliases of aliases grows to billions
MOST_DEPTH: Final = 40

_TAG: Final = "tag:yaml.org,2002:"
_CORE: Final = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
)


class Unreadable(Exception):
    """The text is no spec-shaped value; carries the line, counted from 1."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


@dataclass(frozen=True)
class Located:
    """A plain value and where its parts are.

    Attributes:
        value: What JSON can hold: None, bool, int, float, str, list, dict with str keys.
        lines: Line of each part, counted from 1; a mapping's entry is where its key is.
    """

    value: Any
    lines: dict[Location, int] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as YAML 1.2's core schema does."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the base class's own name; PyYAML fills it below


for _name, _pattern, _first in _CORE:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _first)


def read_yaml(text: str) -> Located:
    """Read one YAML document.

    Raises:
        Unreadable: it is not YAML, or holds what JSON cannot.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(line, f"this is not YAML: the character {chr(error.character)!r} is not allowed") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else 1, f"this is not YAML: {error.problem or error.context}") from error
    if root is None:
        raise Unreadable(1, "it is empty")
    walk = _Walk()
    return Located(walk.value(root, ()), walk.lines)


class _Walk:
    """From nodes to plain values."""

    def __init__(self) -> None:
        self.lines: dict[Location, int] = {(): 1}
        self._nodes = 0

    def value(self, node: yaml.Node, at: Location) -> Any:  # noqa: ANN401 - whatever was written
        """The plain value of a node."""
        self._nodes += 1
        if self._nodes > MOST_NODES or len(at) > MOST_DEPTH:
            raise Unreadable(_line(node), "it is nested too deeply, or an alias refers to itself")
        match node:
            case yaml.MappingNode() if node.tag == f"{_TAG}map":
                return self._mapping(node, at)
            case yaml.SequenceNode() if node.tag == f"{_TAG}seq":
                return self._sequence(node, at)
            case yaml.ScalarNode():
                return _scalar(node)
            case _:
                raise _foreign(node)

    def _mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Unreadable(_line(key), "a key must be a word, not a list or a mapping")
            name = str(key.value)
            place = (*at, name)
            if name in found:
                raise Unreadable(_line(key), f"the key {name!r} is there twice, first in line {self.lines[place]}")
            self.lines[place] = _line(key)
            found[name] = self.value(value, place)
        return found

    def _sequence(self, node: yaml.SequenceNode, at: Location) -> list[Any]:
        found = []
        for index, item in enumerate(node.value):
            self.lines[*at, index] = _line(item)
            found.append(self.value(item, (*at, index)))
        return found


def _scalar(node: yaml.ScalarNode) -> str | float | bool | None:
    written = str(node.value)
    try:
        match str(node.tag).removeprefix(_TAG):
            case "str":
                return written
            case "null":
                return None
            case "bool":
                return written.lower() == "true"
            case "int":
                return int(written, 0) if written[:2] in {"0o", "0x"} else int(written)
            case "float" if isfinite(number := float(written)):
                return number
            case "float":
                raise Unreadable(_line(node), f"{written} is not a number")
            case _:
                raise _foreign(node)
    except ValueError as error:  # .inf is none to Python either; the rest is an explicit tag on something else
        raise Unreadable(_line(node), f"{written} is not a number") from error


def _foreign(node: yaml.Node) -> Unreadable:
    return Unreadable(_line(node), f"the tag {node.tag.replace(_TAG, '!!')} is not allowed")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
