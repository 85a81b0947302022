"""One line of the table: what was asked, what was measured, what the peers needed, whether the bar is met."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HEAD = ("case", "Sluice: min / median / max (n)", "Argo Rollouts 1.9.1", "Flagger 1.44.0", "bar", "met")


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        case: what was asked.
        values: what was measured, one a sample.
        unit: of the values.
        argo: the same of Argo Rollouts, as measured elsewhere.
        flagger: the same of Flagger.
        bar: what is promised, in words; empty if nothing is.
        met: whether it was; None if nothing is promised.
        share: besides the maximum, this quantile is shown: 0.99.
        notes: what else was seen.
    """

    case: str
    values: Sequence[float]
    unit: str = "s"
    argo: str = "–"
    flagger: str = "–"
    bar: str = ""
    met: bool | None = None
    share: float | None = None
    notes: tuple[str, ...] = field(default=())

    def cells(self) -> list[str]:
        """As the table shows it."""
        met = "" if self.met is None else "yes" if self.met else "**NO**"
        return [self.case, self._ours(), self.argo, self.flagger, self.bar, met]

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "values": [round(value, 3) for value in self.values], "notes": list(self.notes)}

    def _ours(self) -> str:
        if not self.values:
            return "–"
        if len(self.values) == 1:
            return f"{number(self.values[0])} {self.unit}".strip()
        shown = [quantile(self.values, share) for share in (0, 0.5, *([self.share] if self.share else []), 1)]
        words = " / ".join([*map(number, shown)])
        extra = f", p{100 * self.share:g} before the max" if self.share else ""
        return f"{words} {self.unit} ({len(self.values)}{extra})".replace("  ", " ")


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so many of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def number(value: float) -> str:
    """Short: two decimals below 10."""
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    notes = [f"- {row.case}: {note}" for row in rows for note in row.notes]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", *notes])
