"""A recorded run while its last line is not read yet: the same lines, packed.

Dispersion is estimated from a whole run, so its lines must wait. A month of five-second scrapes is half a million of
them: 64 bytes each here, 700 as they are read.
"""

from array import array
from collections.abc import Iterator
from itertools import chain

from rollout.judge.dispersion import Block
from rollout.judge.evidence import Tally
from rollout.judge.samples import BadLine, Line
from rollout.judge.threshold import Vector


class Packed:
    """The lines of one run, in time order; changes while it is read.

    Attributes:
        run: its name; None if it has none.
        last: time of the last line, seconds since the run began.
    """

    def __init__(self, run: str | int | None) -> None:
        self.run = run
        self.last = 0.0
        self._times = array("d")  # seconds and percent of each line
        self._names: dict[str, int] = {}
        self._counts = array("q")  # line, gate and its four counts
        self._values: list[tuple[int, str, Vector | None]] = []
        self._answered: dict[str, float] = {}

    def add(self, line: Line) -> None:
        """One more line.

        Raises:
            BadLine: it comes before the one before, or gives a gate two values at one time.
        """
        at = line.at
        if at < self.last:
            run = f" of run {self.run}" if self.run is not None else ""
            raise BadLine(f"at: {at:g} s comes after {self.last:g} s{run}; lines must be in time order within a run")
        self.last = at
        number = len(self._times) // 2
        self._times.extend((at, line.percent))
        for name, tally in line.counts.items():
            self._counts.extend((number, self._names.setdefault(name, len(self._names)), *tally))
        for name, vector in line.values.items():
            if vector is not None:
                if self._answered.get(name) == line.at_ms:
                    raise BadLine(f"values.{name}: there is a value for {at:g} s already")
                self._answered[name] = line.at_ms
            self._values.append((number, name, vector))

    def __iter__(self) -> Iterator[Line]:
        """The lines again."""
        names = list(self._names)
        counted = chain(_rows(self._counts, 6), [(-1,) * 6])
        valued = chain(self._values, [(-1, "", None)])
        at_count, gate, *tally = next(counted)
        at_value, name, vector = next(valued)
        for number, (at, percent) in enumerate(zip(self._times[::2], self._times[1::2], strict=True)):
            counts: dict[str, Tally] = {}
            while at_count == number:
                counts[names[gate]] = Tally(*tally)
                at_count, gate, *tally = next(counted)
            values: dict[str, Vector | None] = {}
            while at_value == number:
                values[name] = vector
                at_value, name, vector = next(valued)
            yield Line(self.run, at, percent, counts, values)

    def stable(self) -> dict[str, list[Block]]:
        """What stable counted, batch by batch, by gate."""
        found: dict[str, list[Block]] = {name: [] for name in self._names}
        blocks = list(found.values())
        for _, gate, _, _, n_b, x_b in _rows(self._counts, 6):
            blocks[gate].append((n_b, x_b))
        return found


def _rows(flat: "array[int]", width: int) -> Iterator[tuple[int, ...]]:
    return zip(*[iter(flat)] * width, strict=True)
