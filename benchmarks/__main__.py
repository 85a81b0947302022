"""`python -m benchmarks [reaction|judge|routers|kubernetes] [options]`; without a name: reaction."""

import os
import sys

if __name__ == "__main__":
    arguments = sys.argv[1:]
    name = (
        arguments.pop(0) if arguments and arguments[0] in {"reaction", "judge", "routers", "kubernetes"} else "reaction"
    )
    if name == "judge":  # imported only when asked for: one needs numpy, the other the test bed
        from benchmarks.judge.__main__ import main
    elif name == "routers":
        from benchmarks.routers.__main__ import main
    elif name == "kubernetes":
        from benchmarks.kubernetes.__main__ import main
    else:
        from benchmarks.reaction import main
    code = main(arguments)
    sys.stdout.flush()
    os._exit(code)  # not sys.exit: see worker.py
