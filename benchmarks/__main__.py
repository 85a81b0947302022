"""All benchmarks in turn: `python -m benchmarks [--quick]`."""

import os
import sys

from benchmarks import reaction

if __name__ == "__main__":
    code = reaction.main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # not sys.exit: see worker.py
