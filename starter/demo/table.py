"""The demo's last words: a table of what happened, and every promise that was not kept."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from starter.demo.score import Row

_ENDLESS = 10_000  # columns; a table that is folded at the width of no terminal is hard to read


def print_table(console: Console, rows: list[Row], seconds: float) -> None:
    """Print the table and what follows from it.

    Args:
        console: Where to.
        rows: One a scenario, in the order of playing.
        seconds: What the whole demo took.
    """
    if not console.is_terminal:
        console.width = _ENDLESS
    console.print()
    console.print(_table(rows, framed=console.is_terminal))
    for row in rows:
        for sentence in filter(None, (row.reason, row.spared, row.comparison)):
            console.print(f"{row.scenario}: {sentence}", markup=False)
    short = [f"{row.scenario}: {sentence}" for row in rows for sentence in row.shortfalls]
    for sentence in short:
        console.print(Text(f"NOT AS PROMISED  {sentence}", style="bold red"))
    if not short:
        console.print(Text(f"Everything as promised, in {seconds:.0f} s.", style="bold green"))


def _table(rows: list[Row], *, framed: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD if framed else None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("scenario")
    table.add_column("outcome")
    table.add_column("percents proven")
    table.add_column("caught by")
    flags = any(row.flag_at_end for row in rows)
    if flags:
        table.add_column("flag")
    for name in ("first bad → breach → 0 %", "cause → 0 %", "bad", "dropped", "requests", "events"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.scenario,
            Text(row.outcome, style="red" if row.shortfalls else "green"),
            " → ".join(f"{percent:g}" for percent in row.percents_seen),
            row.caught_by or "–",
            *[_flag(row)] * flags,
            _seconds(row.seconds_to_breach, row.seconds_to_zero) + (" → never" if row.rolled_back is False else ""),
            _seconds(row.cause_to_zero_s),
            str(row.bad_responses),
            Text(str(row.dropped_requests), style="bold red" if row.dropped_requests else ""),
            str(row.requests),
            str(row.history_events),
        )
    return table


def _flag(row: Row) -> str:
    """When the flag was off, and what became of the release; the times before it are counted as those of a way back."""
    if row.flag_at_end is None:
        return "–"
    after = "" if row.seconds_to_flag_off is None else f" after {row.seconds_to_flag_off:.1f} s"
    return f"{row.flag_at_end}{after}, release {'' if row.rolled_back else 'not '}rolled back"


def _seconds(*values: float | None) -> str:
    known = [f"{value:.1f}" for value in values if value is not None]
    return f"{' → '.join(known)} s" if known else "–"
