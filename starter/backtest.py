"""`backtest`: would a spec's gates have caught last week's incident, and would they have cried wolf last month?

Recorded health comes from a file, or out of a metrics server's past. Nothing is printed before the last line was read:
a file that is broken in the middle has no answer.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.table import Table

from activities.recalling import Span
from rollout.base import percent_text
from rollout.durations import text
from rollout.judge.backtest import Backtest, Outcome
from rollout.judge.samples import BadLine, read, written
from rollout.judge.verdict import Verdict
from starter.exits import Exit, Sorry
from starter.moments import moment_ms
from starter.options import JsonOption, SpecArgument
from starter.printing import say, show, show_json_lines, table, words
from starter.specfile import STDIN, load

_STYLES = {Verdict.BREACHED: "red", Verdict.NO_DATA: "yellow", Verdict.UNDECIDED: "", Verdict.HEALTHY: "green"}

SamplesOption = Annotated[
    str | None,
    typer.Option("--samples", metavar="FILE", help="Recorded health, one JSON object a line; - is standard input."),
]
PrometheusOption = Annotated[
    str | None,
    typer.Option(
        "--prometheus",
        metavar="CONNECTION",
        help="Ask a metrics server instead, by its name in the worker's settings (SLUICE_CONFIG).",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="When the run began: 2026-11-20T10:00Z, Unix seconds, or -2h."),
]
ToOption = Annotated[
    str, typer.Option("--to", metavar="TIME", help="When it ended, likewise; now unless told otherwise.")
]
PercentOption = Annotated[
    float | None,
    typer.Option(
        "--percent",
        min=0,
        max=100,
        help="Percent on the candidate in that time; unless told, the candidate's share of what was counted.",
    ),
]
SaveOption = Annotated[
    Path | None, typer.Option("--save", metavar="FILE", help="Keep what the server said, to be read by --samples.")
]
DispersionOption = Annotated[
    float | None,
    typer.Option(
        "--dispersion",
        min=1,
        max=1000,
        help="How many events usually come at once, for gates that do not say it themselves; unless told, estimated "
        "from stable's counts of each run.",
    ),
]


def backtest(
    source: SpecArgument,
    *,
    samples: SamplesOption = None,
    prometheus: PrometheusOption = None,
    since: FromOption = None,
    until: ToOption = "now",
    percent: PercentOption = None,
    save: SaveOption = None,
    dispersion: DispersionOption = None,
    as_json: JsonOption = False,
) -> Exit:
    """Replay recorded health through a spec's gates.

    From a file (--samples), with no server at all, or out of a metrics server's past (--prometheus, --from, --to).
    Exits with 0 whatever the gates said, with 1 if there is nothing to be replayed.
    """
    _refuse_contradictions(source, samples, prometheus, since, asks=[percent, save, None if until == "now" else until])
    test = Backtest(load(source).spec, phi=dispersion)
    if prometheus is not None:
        now_ms = time.time_ns() // 1_000_000
        span = Span(moment_ms("--from", since or "", now_ms), moment_ms("--to", until, now_ms))
        _recall(test, prometheus, span, percent, save)
    else:
        _replay(test, samples or "")
    found = test.outcomes()
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
    for line in _dispersions(found):
        show(words(line))
    return Exit.OK


def _refuse_contradictions(
    source: str, samples: str | None, prometheus: str | None, since: str | None, asks: list[object]
) -> None:
    """Options that do not go together.

    Raises:
        Sorry: with what is missing or too much.
    """
    wrong = None
    if (samples is None) == (prometheus is None):
        wrong = "give either --samples FILE or --prometheus CONNECTION, to say where recorded health comes from"
    elif source == samples == STDIN:
        wrong = "the spec and the samples cannot both come from standard input"
    elif prometheus is not None and since is None:
        wrong = "--prometheus needs --from: when the run began"
    elif prometheus is None and (since is not None or any(value is not None for value in asks)):
        wrong = "--from, --to, --percent and --save go with --prometheus; a file says it all itself"
    if wrong:
        raise Sorry(wrong, code=Exit.USAGE)


def _recall(test: Backtest, connection: str, span: Span, percent: float | None, save: Path | None) -> None:
    """Take every line out of a metrics server's past.

    Raises:
        Sorry: it cannot be asked, or knows nothing.
    """
    if span.since_ms >= span.until_ms:
        raise Sorry("--from must be earlier than --to", code=Exit.USAGE)
    from starter.asking import recall  # noqa: PLC0415 - brings every client of every backend

    lines = recall(test.spec, connection, span, percent)
    if not any(line.counts or any(line.values.values()) for line in lines):
        raise Sorry(f"{connection}: it knows nothing about these gates in that time")
    if save:
        try:
            with save.open("w", encoding="utf-8") as file:
                file.writelines(f"{written(line, test.gates)}\n" for line in lines)
        except OSError as error:
            raise Sorry(f"{save}: {error.strerror}", code=Exit.USAGE) from error
    for line in lines:
        test.see(line)


def _replay(test: Backtest, samples: str) -> None:
    """Take every line of a file.

    Raises:
        Sorry: there is none, or one is wrong; with its number.
    """
    number = seen = 0
    try:
        with _opened(samples) as file:
            for number, raw in enumerate(file, 1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if line:
                    test.see(read(line, test.gates))
                    seen += 1
    except OSError as error:
        raise Sorry(f"{_name(samples)}: {error.strerror}", code=Exit.USAGE) from error
    except UnicodeDecodeError as error:
        raise Sorry(f"{_name(samples)}:{number}: this is not UTF-8 text") from error
    except BadLine as error:
        raise Sorry(f"{_name(samples)}:{number}: {error}") from error
    if not seen:
        raise Sorry(f"{_name(samples)}: there are no samples in it")


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


def _dispersions(found: list[Outcome]) -> list[str]:
    """One sentence a gate that has counted: how many events were taken to come at once, and why."""
    told = []
    for name in found[0].gates:
        gates = [outcome.gates[name] for outcome in found]
        if known := [gate.dispersion for gate in gates if gate.dispersion and gate.stable != (0, 0)]:
            ends = [f"{end:.3g}" for end in (min(each.phi for each in known), max(each.phi for each in known))]
            source = known[0].source if len(found) == 1 else known[0].source.split(":")[0]
            told.append(f"{name}: dispersion {' to '.join(dict.fromkeys(ends))}, {source}")
    return told


def _of(counts: tuple[int, int] | None) -> str:
    return f"{counts[1]} of {counts[0]}" if counts else ""


def add(app: typer.Typer) -> None:
    """Give the application this command."""
    app.command()(backtest)
