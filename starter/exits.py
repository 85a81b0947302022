"""How a command ends: the exit codes that scripts may rely on, and the one exception that carries a sentence.

A spec that cannot be read as a rollout is *refused* (1): the command was used correctly, the answer is no. A file that
does not exist, an unknown option or a name that cannot be one is *usage* (2). Anything that a running rollout decided
has a code of its own, so that a pipeline can tell "rolled back" from "could not ask".
"""

from enum import IntEnum
from typing import assert_never

from rollout.happened import Phase


class Exit(IntEnum):
    """What the shell sees."""

    OK = 0
    """Promoted, or the command did what it should."""
    REFUSED = 1
    """Refused, or failed to run: invalid spec, no server, a command that cannot be obeyed, a run ended from outside."""
    USAGE = 2
    """The command line is wrong."""
    ROLLED_BACK = 10
    ABORTED = 11
    """A person stopped it, or the run was cancelled."""
    TURNED_DOWN = 12
    """Rejected by a person who was asked, or nobody answered in time."""
    HELD = 13
    """Held or stuck, when asked not to wait."""


class Sorry(Exception):
    """The command cannot go on: sentences for standard error, and the exit code."""

    def __init__(self, *sentences: str, code: Exit = Exit.REFUSED) -> None:
        super().__init__("\n".join(sentences))
        self.code = code


def of_phase(phase: Phase) -> Exit:
    """The exit code of a rollout in this phase; one that is on its way is 0."""
    match phase:
        case Phase.ROLLED_BACK:
            return Exit.ROLLED_BACK
        case Phase.ABORTED:
            return Exit.ABORTED
        case Phase.REJECTED | Phase.EXPIRED:
            return Exit.TURNED_DOWN
        case Phase.REFUSED:
            return Exit.REFUSED
        case Phase.HELD | Phase.STUCK:
            return Exit.HELD
        case Phase.PROMOTED | Phase.PREFLIGHT | Phase.SHIFTING | Phase.BAKING | Phase.AWAITING_APPROVAL:
            return Exit.OK
        case Phase.MITIGATING | Phase.FINALIZING | Phase.ROLLING_BACK:
            return Exit.OK
        case _ as never:
            assert_never(never)
