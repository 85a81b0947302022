"""Being told to stop: by Ctrl-C, by a supervisor, by a closed terminal.

Why not leave it to Python: only Ctrl-C would be turned into an exception, and a second one, pressed out of impatience,
would break off the stopping that the first one began. The children hear none of these signals (they live in sessions of
their own); they end because this process ends them, or, when it is killed by force, because the kernel does.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let the first signal raise, wherever the body is; later ones change nothing.

    Raises:
        KeyboardInterrupt: Told to stop.
    """
    told = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
