"""Log lines of the SDK without its key: it quotes whatever answers, which may be what it was sent."""

import logging

from activities.secret_file import holds

_SDK = logging.getLogger("ldclient.util")  # the one logger of the SDK and of its stream


class Unsaid(logging.Filter):
    """Takes the words of lines that hold a key."""

    def __init__(self, key: str) -> None:
        """Take the key."""
        super().__init__()
        self._key = key

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line pass, some without their words."""
        error = record.exc_info[1] if record.exc_info else ""
        if holds(f"{record.getMessage()} {error}", self._key):
            record.msg, record.args, record.exc_info = "not shown: the line holds the SDK key", (), None
        return True

    def begin(self) -> None:
        """From now on."""
        _SDK.addFilter(self)

    def end(self) -> None:
        """No longer."""
        _SDK.removeFilter(self)
