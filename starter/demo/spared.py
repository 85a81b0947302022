"""A release that was spared: a feature's flag was turned off instead, and a person went on with the rest.

What the history says of it, and what of the promise was not kept. Why a promise of its own: a promoted rollout alone
proves nothing here, it would look the same if the gates had slept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from rollout import names
from rollout.happened import RolloutResult
from rollout.messages import Watched
from rollout.mitigating import RECOVERED
from testbed.report import LoadReport
from workflows.converter import DATA_CONVERTER

OFF: Final = "off"


@dataclass(frozen=True)
class Spared:
    """What came of the flag that was turned off last; times are those of the Temporal server, Unix seconds.

    Attributes:
        flag: The flag, in words.
        outcome: `recovered`, or why it did not help; empty when that was never known.
        off_at: When the server learned that the flag is off wherever it is evaluated; None if it never did.
        held_at: When it learned that the gate has recovered: from then on the rollout is held.
        resumed_at: When it took somebody's word to go on; None if nobody gave it.
    """

    flag: str
    outcome: str
    off_at: float | None = None
    held_at: float | None = None
    resumed_at: float | None = None


async def spared(
    result: RolloutResult | None, completed: Sequence[tuple[str, HistoryEvent]], history: Sequence[HistoryEvent]
) -> Spared | None:
    """Read it from a closed run; None when no flag was touched.

    Args:
        result: Of the run, None if it has none.
        completed: Type and completion of every activity, oldest first.
        history: All of it.
    """
    if result is None or not result.mitigated:
        return None
    off_at = held_at = None
    for kind, event in completed:
        if kind == names.APPLY_MITIGATION:
            off_at, held_at = seconds_of(event), None
        elif kind == names.WATCH_HEALTH and off_at is not None and await _recovered(event):
            held_at = seconds_of(event)
    last = result.mitigated[-1]
    return Spared(last.flag, last.outcome, off_at if last.off_at else None, held_at, _resumed_at(history, held_at))


def shortfalls(found: Spared | None, load: LoadReport, flag_at_end: str | None, *, went_back: bool) -> tuple[str, ...]:
    """What of the promise was not kept, as sentences.

    Args:
        found: What the history says.
        load: The visitors' last report.
        flag_at_end: What the shops give their visitors then.
        went_back: Whether 0 % was written and proven.
    """
    if found is None or found.off_at is None:
        return ("no flag was turned off",)
    sentences = []
    if found.outcome != RECOVERED:
        sentences.append(f"with {found.flag} off the gate did not recover: {found.outcome or 'nobody knows why'}")
    elif found.held_at is None or found.resumed_at is None:
        sentences.append("it went on without waiting for a person")
    if went_back:
        sentences.append("the release was rolled back; turning the flag off is promised to be enough")
    if load.last_bad_at is None:
        sentences.append("no visitor had a bad response, so nothing is shown")
    elif load.last_bad_at > found.off_at:
        late_s = load.last_bad_at - found.off_at
        sentences.append(f"the last bad response came {late_s:.1f} s after the flag was proven off")
    if flag_at_end != OFF:
        sentences.append(f"at the end the flag gives visitors {flag_at_end or 'nothing'} instead of {OFF}")
    return tuple(sentences)


def in_words(found: Spared, seconds_to_off: float | None, flag_at_end: str | None, *, went_back: bool) -> str:
    """What happened, for people.

    Args:
        found: What the history says.
        seconds_to_off: From the first bad response; None without one.
        flag_at_end: What the shops give their visitors then.
        went_back: Whether 0 % was written and proven.
    """
    if found.off_at is None:
        return f"{found.flag} could not be turned off: {found.outcome}"
    took = "" if seconds_to_off is None else f" {seconds_to_off:.1f} s after the first bad response"
    end = f" and is {flag_at_end} at the end" if flag_at_end else ""
    said = [f"{found.flag} was proven off{took}{end}"]
    if found.held_at and found.resumed_at:
        said.append(f"a person resumed {found.resumed_at - found.held_at:.1f} s after the gate had recovered")
    said.append(
        "the release was rolled back" if went_back else "the release was not rolled back, 0 % was never written"
    )
    return "; ".join(said)


def seconds_of(event: HistoryEvent) -> float:
    """The server's time of an event, Unix seconds."""
    return event.event_time.seconds + event.event_time.nanos / 1e9


async def _recovered(event: HistoryEvent) -> bool:
    payloads = event.activity_task_completed_event_attributes.result.payloads
    (watched,) = await DATA_CONVERTER.decode(payloads, [Watched])
    return bool(watched.why == "recovered")


def _resumed_at(history: Sequence[HistoryEvent], held_at: float | None) -> float | None:
    """The first resume after the rollout was held, whichever way it was sent."""
    for event in history:
        asked = event.workflow_execution_update_accepted_event_attributes.accepted_request.input.name
        told = event.workflow_execution_signaled_event_attributes.signal_name
        if held_at is not None and names.RESUME in {asked, told} and seconds_of(event) >= held_at:
            return seconds_of(event)
    return None
