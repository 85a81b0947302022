"""Where words go: answers to standard output, everything said about them to standard error.

People get colour and tables from rich. Pipes get the same things as plain text: no colour, no boxes, nothing wrapped or
cut at a width that only a terminal has. Text from elsewhere is never read as markup and cannot steer the terminal.
"""

import io
import json
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ENDLESS: Final = 10_000  # columns; rich must not wrap what a pipe reads


def answers() -> Console:
    """Standard output, made anew each time because tests and pagers replace it."""
    return Console(markup=False, highlight=False, emoji=False)


def to_person() -> bool:
    """Whether a person reads standard output."""
    return answers().is_terminal


def show(*things: RenderableType) -> None:
    """Print an answer, in colour for a person, plainly for a pipe."""
    if to_person():
        answers().print(*things, sep="\n")
    else:
        sys.stdout.write(plain(*things))
        sys.stdout.flush()


def plain(*things: RenderableType) -> str:
    """An answer as plain text: no colour, no trailing spaces, as wide as it is."""
    text = io.StringIO()
    Console(file=text, width=_ENDLESS, color_system=None, markup=False, highlight=False, emoji=False).print(
        *things, sep="\n"
    )
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def show_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Print one JSON value."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def show_json_lines(values: Iterable[Any]) -> None:
    """Print JSON values, one a line."""
    for value in values:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def say(sentence: str, style: str = "") -> None:
    """Tell the person who typed something beside the answer, on standard error."""
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    console.print(words(sentence, style), soft_wrap=True)


def words(text: str, style: str = "") -> Text:
    """Text from anywhere, harmless: control characters are made visible."""
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text), style=style)


def table(*headers: str) -> Table:
    """An empty table with headings; framed for a person only."""
    frame = SIMPLE_HEAD if to_person() else None
    made = Table(box=frame, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        made.add_column(header, no_wrap=frame is None)
    return made


def fields() -> Table:
    """An empty list of names and values."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column()
    return made
