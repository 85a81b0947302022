"""`python -m benchmarks.judge [--quick] [--part false delay …] [--seed N] [--json FILE] [--plot FOLDER]`."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.judge import article, carried, delays, falses, late, peeking, plots, speed
from benchmarks.judge.lab import Lab, Section
from benchmarks.judge.ours import Proof

PARTS: dict[str, Callable[[Lab], Section]] = {
    "false": falses.run,
    "delay": delays.run,
    "late": late.run,
    "peeking": peeking.run,
    "carried": carried.run,
    "article": article.run,
    "speed": speed.run,
}
NEEDED_PATHS = 200


def main(arguments: list[str]) -> int:
    chosen = parsed(arguments)
    proof = Proof(np.random.default_rng(chosen.seed))
    lab, sections, begun = Lab(chosen.seed, chosen.quick, proof), {}, time.process_time()
    for name in chosen.part:
        sections[name] = PARTS[name](lab)
        print(*sections[name].tables, sep="\n", flush=True)
    enough = proof.paths >= NEEDED_PATHS or len(chosen.part) < len(PARTS)
    lab.demand("twin == product", kept=proof.holds and enough, seen=str(proof))
    tell(lab)
    took = time.process_time() - begun
    print(f"\n{took:.0f} s of one core, numpy {np.__version__}, Python {platform.python_version()}, seed {chosen.seed}")
    if chosen.json:
        chosen.json.write_text(json.dumps(record(lab, sections), indent=1))
    if chosen.plot:
        plots.draw(sections, chosen.plot)
    return 0 if all(bar.kept for bar in lab.bars) else 1


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute; for CI")
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seed", type=int, default=20240607)
    parser.add_argument("--json", type=Path, help="write all numbers there")
    parser.add_argument("--plot", type=Path, help="write pictures into this folder; needs the parts false and delay")
    return parser.parse_args(arguments)


def tell(lab: Lab) -> None:
    """The promises: those that are broken, and how many are kept."""
    missed = [bar for bar in lab.bars if not bar.kept]
    if lab.proof.holds:
        print(f"\ntwin == product on {lab.proof}")
    print(f"\n{len(lab.bars) - len(missed)} of {len(lab.bars)} bars kept")
    for bar in missed:
        print(f"MISSED  {bar.name}: {bar.seen}")


def record(lab: Lab, sections: dict[str, Section]) -> dict[str, object]:
    """Everything that was printed, for programs."""
    return {
        "seed": lab.seed,
        "quick": lab.quick,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sizes": lab.sizes.__dict__,
        "bars": [bar.__dict__ for bar in lab.bars],
        "sections": {name: section.data for name, section in sections.items()},
        "tables": [str(table) for section in sections.values() for table in section.tables],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
