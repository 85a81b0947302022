"""A small, strict reader of Terraform's language: blocks, attributes, and expressions as their tokens.

It knows what deploy/ uses and refuses the rest (heredocs, templates with directives), so that nothing is passed over.
"""

import re
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<skip>[ \t\r]+|\#[^\n]*|//[^\n]*)
      | (?P<newline>\n)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<number>\d+(?:\.\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | (?P<mark>==|!=|<=|>=|&&|\|\||=>|[{}\[\]().,?:=<>!+*/%-])""",
    re.VERBOSE,
)
_PAIRS: Final = {"{": "}", "[": "]", "(": ")"}

Expression = tuple[str, ...]
"""The tokens of an expression, strings with their quotes."""


@dataclass
class Block:
    """A block: its type and labels, and what is in it."""

    type: str
    labels: tuple[str, ...] = ()
    attributes: dict[str, Expression] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)

    def all(self, kind: str) -> list["Block"]:
        """Blocks of a type directly inside."""
        return [block for block in self.blocks if block.type == kind]

    def one(self, kind: str, *labels: str) -> "Block":
        """The only block of a type, with these labels if any are given."""
        [found] = [block for block in self.all(kind) if not labels or block.labels == labels]
        return found

    def everything(self) -> list["Block"]:
        """It, and every block inside at any depth."""
        return [self, *(deep for block in self.blocks for deep in block.everything())]


def parsed(text: str) -> Block:
    """A whole file, as a block without a type.

    Raises:
        ValueError: it is not what this reader knows; says where.
    """
    reader = _Reader(text)
    found = reader.body("", until="")
    reader.take("")
    return found


def items(expression: Expression) -> list[str]:
    """The members of a list of single tokens, such as `[action, tags]`."""
    if expression[0] != "[" or expression[-1] != "]":
        raise ValueError(f"{expression} is no list")
    members = [token for token in expression[1:-1] if token != "\n"]
    if members[1::2] != [","] * len(members[1::2]):
        raise ValueError(f"{expression} has members that are more than one word")
    return members[0::2]


def references(expression: Expression) -> list[str]:
    """Every name with dots in an expression, also in `${…}` of its strings: `var.name`, `aws_lb.this.arn`."""
    found: list[str] = []
    text = ""
    for token in (*expression, " "):
        if token.startswith('"'):
            for inner in re.findall(r"\$\{([^}]*)\}", token):
                found += references(tuple(each for _, each, _ in _tokens(inner)))
        if (re.fullmatch(r"[A-Za-z_][\w-]*", token) and (not text or text.endswith("."))) or (token == "." and text):
            text += token
        else:
            found += [text] if "." in text else []
            text = token if re.fullmatch(r"[A-Za-z_][\w-]*", token) else ""
    return found


def _tokens(text: str) -> list[tuple[str, str, int]]:
    found, at, line = [], 0, 1
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"line {line}: {text[at : at + 20]!r} is not understood")
        if token.lastgroup == "string" and "%{" in token.group():
            raise ValueError(f"line {line}: a template with directives")
        if token.lastgroup != "skip":
            found.append((str(token.lastgroup), token.group(), line))
        line += token.group().count("\n")
        at = token.end()
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self._left = [*_tokens(text), ("end", "", text.count("\n") + 1)][::-1]

    def body(self, kind: str, until: str, labels: tuple[str, ...] = ()) -> Block:
        block = Block(kind, labels)
        while True:
            self._newlines()
            if self._next() == until:
                return block
            name = self._a("name")
            if self._next() == "=":
                self.take("=")
                if name in block.attributes:
                    raise self._wrong(f"{name} is there twice")
                block.attributes[name] = self._expression()
            else:
                block.blocks.append(self._block(name))
            if self._next() != until:
                self.take("\n")

    def take(self, text: str) -> None:
        if self._next() != text:
            raise self._wrong(f"{text!r} should be here")
        self._left.pop()

    def _block(self, kind: str) -> Block:
        labels = []
        while self._kind() == "string":
            labels.append(self._a("string")[1:-1])
        self.take("{")
        block = self.body(kind, "}", tuple(labels))
        self.take("}")
        return block

    def _expression(self) -> Expression:
        found: list[str] = []
        closing: list[str] = []
        while closing or self._next() not in {"\n", "}", ""}:
            token = self._next()
            if token == "" or (token in _PAIRS.values() and (not closing or closing.pop() != token)):
                raise self._wrong("a bracket is not closed, or closed twice")
            if token in _PAIRS:
                closing.append(_PAIRS[token])
            found.append(token)
            self._left.pop()
        if not found:
            raise self._wrong("a value should be here")
        return tuple(found)

    def _newlines(self) -> None:
        while self._next() == "\n":
            self._left.pop()

    def _a(self, kind: str) -> str:
        if self._kind() != kind:
            raise self._wrong(f"a {kind} should be here")
        return self._left.pop()[1]

    def _kind(self) -> str:
        return self._left[-1][0]

    def _next(self) -> str:
        return self._left[-1][1]

    def _wrong(self, what: str) -> ValueError:
        _, token, line = self._left[-1]
        return ValueError(f"line {line}: {what}, not {token!r}")
