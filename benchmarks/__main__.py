"""All benchmarks in turn: `python -m benchmarks [--quick]`."""

import sys

from benchmarks import reaction

if __name__ == "__main__":
    sys.exit(reaction.main(sys.argv[1:]))
