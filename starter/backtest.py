"""`backtest`: would a spec's gates have caught last week's incident, and would they have cried wolf last month?

Reads recorded health line by line, so a file may be larger than memory. Nothing is printed before the last line was
read: a file that is broken in the middle has no answer.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.table import Table

from rollout.base import percent_text
from rollout.durations import text
from rollout.judge.backtest import Backtest, Outcome
from rollout.judge.dispersion import ASSUMED
from rollout.judge.samples import BadLine, read
from rollout.judge.verdict import Verdict
from starter.exits import Exit, Sorry
from starter.options import JsonOption, SpecArgument
from starter.printing import say, show, show_json_lines, table, words
from starter.specfile import STDIN, load

_STYLES = {Verdict.BREACHED: "red", Verdict.NO_DATA: "yellow", Verdict.UNDECIDED: "", Verdict.HEALTHY: "green"}

SamplesOption = Annotated[
    str,
    typer.Option("--samples", metavar="FILE", help="Recorded health, one JSON object a line; - is standard input."),
]
DispersionOption = Annotated[
    float,
    typer.Option(
        "--dispersion",
        min=1,
        max=1000,
        help="How many events usually come at once, for gates that leave it to stable's past: a recording has none.",
    ),
]


def backtest(
    source: SpecArgument,
    samples: SamplesOption,
    *,
    dispersion: DispersionOption = ASSUMED,
    as_json: JsonOption = False,
) -> Exit:
    """Replay recorded health through a spec's gates.

    Needs no server. Exits with 0 whatever the gates said, with 1 if the recording cannot be replayed.
    """
    if source == samples == STDIN:
        raise Sorry("the spec and the samples cannot both come from standard input", code=Exit.USAGE)
    test = Backtest(load(source).spec, phi=dispersion)
    _replay(test, samples)
    found = test.outcomes()
    if not found:
        raise Sorry(f"{_name(samples)}: there are no samples in it")
    for note in test.notes:
        say(note, "yellow")
    if as_json:
        show_json_lines(outcome.as_json() for outcome in found)
        return Exit.OK
    show(_runs(found))
    if len(found) == 1:
        show(_gates(found[0]))
    else:
        counts = Counter(outcome.verdict for outcome in found)
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
        show(words(f"{len(found)} runs: {told}"))
    return Exit.OK


def _replay(test: Backtest, samples: str) -> None:
    """Read every line.

    Raises:
        Sorry: with the line's number.
    """
    number = 0
    try:
        with _opened(samples) as file:
            for number, raw in enumerate(file, 1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if line:
                    test.see(read(line, test.gates))
    except OSError as error:
        raise Sorry(f"{_name(samples)}: {error.strerror}", code=Exit.USAGE) from error
    except UnicodeDecodeError as error:
        raise Sorry(f"{_name(samples)}:{number}: this is not UTF-8 text") from error
    except BadLine as error:
        raise Sorry(f"{_name(samples)}:{number}: {error}") from error


@contextmanager
def _opened(samples: str) -> Iterator[BinaryIO]:
    if samples == STDIN:
        yield sys.stdin.buffer
    else:
        with Path(samples).open("rb") as file:
            yield file


def _name(samples: str) -> str:
    return "stdin" if samples == STDIN else samples


def _runs(found: list[Outcome]) -> Table:
    rows = table("RUN", "VERDICT", "AT", "PERCENT", "REASON")
    for outcome in found:
        rows.add_row(
            words("" if outcome.run is None else str(outcome.run)),
            words(outcome.verdict, _STYLES[outcome.verdict]),
            text(timedelta(seconds=outcome.at)),
            percent_text(outcome.percent),
            words(outcome.reason),
        )
    return rows


def _gates(outcome: Outcome) -> Table:
    rows = table("GATE", "VERDICT", "EVIDENCE", "CANDIDATE", "STABLE", "EXCLUDED")
    for name, gate in outcome.gates.items():
        rows.add_row(
            words(name),
            words(gate.verdict, _STYLES[gate.verdict]),
            "" if gate.evidence is None else f"{gate.evidence:.3g}",
            _of(gate.candidate),
            _of(gate.stable),
            "" if gate.excludes_above is None else f"above {gate.excludes_above:.3g}×",
        )
    return rows


def _of(counts: tuple[int, int] | None) -> str:
    return f"{counts[1]} of {counts[0]}" if counts else ""


def add(app: typer.Typer) -> None:
    """Give the application this command."""
    app.command()(backtest)
