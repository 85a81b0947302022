"""`probe`: what is wrong with an answer, as a tick for `threshold.py`: 1 is bad, 0 is good."""

from datetime import timedelta

from rollout.durations import text
from rollout.gates.probe import ProbeGate
from rollout.judge.fetched import Fetched, Request
from rollout.judge.threshold import Tick


def request(gate: ProbeGate) -> Request:
    """What to send."""
    headers = {} if gate.header is None else {gate.header.name: gate.header.value}
    return Request(gate.path, gate.method, headers)


def judged(gate: ProbeGate, fetched: Fetched) -> Tick:
    """What came back, judged.

    No answer in time is "slower than" if the gate asks for that and waited long enough; otherwise it is no data: the
    way to the candidate may be broken anywhere.
    """
    took = timedelta(milliseconds=fetched.took_ms)
    slow = gate.slower_than is not None and took > gate.slower_than
    if fetched.status is None:
        said = f"no answer within {_seconds(fetched.took_ms)}"
        return Tick({"": 1.0} if slow else {}, said=said)
    wrong = []
    if fetched.status not in gate.status:
        wrong.append(f"status {fetched.status}")
    if slow:
        wrong.append(f"took {_seconds(fetched.took_ms)}")
    if gate.contains is not None and gate.contains not in fetched.body:
        wrong.append(f"body lacks {gate.contains!r}{' in its first 64 KiB' if fetched.cut else ''}")
    if wrong:
        return Tick({"": 1.0}, said=", ".join(wrong))
    return Tick({"": 0.0}, said=f"status {fetched.status} in {_seconds(fetched.took_ms)}")


def _seconds(milliseconds: int) -> str:
    return text(timedelta(milliseconds=milliseconds)) if milliseconds >= 1000 else f"{milliseconds}ms"
