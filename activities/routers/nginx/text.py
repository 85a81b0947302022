"""Just enough of nginx's configuration language to find a statement and where it stands.

The known parsers rebuild a whole file and lose its formatting; an operator's upstreams must survive byte for byte.
"""

import re
from typing import NamedTuple

_TOKEN = re.compile(r"""\s+|\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|[^\s{};"'][^\s{};]*""", re.DOTALL)
_ESCAPE = re.compile(r"""\\(["'\\trn])""")
_MEANT = {"t": "\t", "r": "\r", "n": "\n"}
_UPSTREAM = re.compile(r"(?:^|[{};])\s*upstream\s+[\"']?([^\s{\"']+)[\"']?\s*\{", re.MULTILINE)

_FILE = re.compile(r"^# configuration file .*:$", re.MULTILINE)
_PASS = re.compile(r"\b(?:\w+_pass|set\s+\$\w+|map)\s+[\"']?([^\s;\"']+)")
_COMMENT = re.compile(r"#[^\n]*")


class Statement(NamedTuple):
    """One directive.

    Attributes:
        words: name and parameters, unquoted; never empty.
        start: offset of its first character.
        end: offset behind its semicolon or closing brace.
        inner: what stands between its braces.
    """

    words: list[str]
    start: int
    end: int
    inner: list["Statement"]


def statements(text: str) -> list[Statement]:
    """Every directive of a file, in order; comments are left out.

    Raises:
        ValueError: braces, quotes or semicolons do not fit together.
    """
    levels: list[tuple[list[str], int, list[Statement]]] = [([], 0, [])]
    words: list[str] = []
    start = position = 0
    while position < len(text):
        if (found := _TOKEN.match(text, position)) is None:
            raise ValueError(f"an open quote at character {position}")
        piece, position = found[0], found.end()
        if piece[0].isspace() or piece[0] == "#":
            continue
        if piece == "{" and words:
            levels.append((words, start, []))
        elif piece == "}" and not words and len(levels) > 1:
            opened, began, inner = levels.pop()
            levels[-1][2].append(Statement(opened, began, position, inner))
        elif piece == ";" and words:
            levels[-1][2].append(Statement(words, start, position, []))
        elif piece in {"{", "}", ";"}:
            raise ValueError(f"an unexpected {piece} at character {found.start()}")
        else:
            start = start if words else found.start()
            words.append(_unquoted(piece))
            continue
        words = []
    if words or len(levels) > 1:
        raise ValueError("it ends in the middle of a directive")
    return levels[0][2]


def upstreams(dump: str) -> set[str]:
    """Names of all upstreams in what `nginx -T` prints, which may hold blocks in other languages."""
    return set(_UPSTREAM.findall(dump))


def uses(dump: str, variable: str, upstream: str | None) -> bool:
    """Whether any request of visitors is led by a variable, in what `nginx -T` prints.

    The locations below `/sluice/` do not count: they are the worker's own. A `set` or `map` does, as what it makes of
    the variable may be passed on.

    Args:
        dump: all files, each behind a comment with its name.
        variable: without the dollar sign.
        upstream: counts as well if it is passed to by name; None if it does not.
    """
    name = re.compile(rf"\$(?:{variable}\b|\{{{variable}\}})")
    passed = re.compile(rf"^(?:\w+://)?{re.escape(upstream)}(?:/.*)?$") if upstream else None

    def leads(each: Statement) -> bool:
        word, values = each.words[0], each.words[1:]
        if word == "location" and any(value.startswith("/sluice/") for value in values):
            return False
        if word.endswith("_pass") and values and (name.search(values[0]) or (passed and passed.match(values[0]))):
            return True
        source = values[-1:] if word == "set" else values[:1] if word == "map" else []
        return any(name.search(value) for value in source) or any(map(leads, each.inner))

    for file in _FILE.split(dump):
        try:
            if any(map(leads, statements(file))):
                return True
        except ValueError:  # a block in another language: then every word that looks like it counts
            if any(
                name.search(value) or (passed and passed.match(value))
                for value in _PASS.findall(_COMMENT.sub("", file))
            ):
                return True
    return False


def _unquoted(token: str) -> str:
    inside = token[1:-1] if token[0] in "\"'" else token
    return _ESCAPE.sub(lambda found: _MEANT.get(found[1], found[1]), inside)
