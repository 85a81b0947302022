"""What the load generator saw, as it stands in its report file.

Why a file and not a pipe: the load runs for minutes in a process of its own, and whoever wants to know (a test, the
demo's screen, a benchmark) reads the newest complete report at any time, also after the load was killed.
"""

from pydantic import BaseModel, ConfigDict


class LoadReport(BaseModel):
    """Counts since the load began; every time is in unix seconds.

    Attributes:
        started_at: When the first request was due.
        written_at: When this report was written.
        finished: Whether the load has ended.
        requests: Requests that ended, well or not.
        skipped_requests: Requests never sent, because too many were unanswered.
        dropped_requests: Requests without a complete answer of the shop: broken connections, time-outs, and the proxy's
            own refusals (recognised by their missing `X-Version`).
        dropped: The same by kind: `reused:eof`, `fresh:connect`, `reused:proxy-503`, …
        bad_responses: Answers of the shop itself with a status of 500 or more.
        first_bad_at: Time of the first of them, None without any.
        last_bad_at: Time of the last of them.
        versions: Answers by `X-Version`, the bad ones included.
        last_candidate_at: Time of the last answer of the candidate.
        last_seconds: Of the last 30 seconds, oldest first: the second, and counts of the versions, `bad`, `dropped`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    started_at: float
    written_at: float
    finished: bool = False
    requests: int = 0
    skipped_requests: int = 0
    dropped_requests: int = 0
    dropped: dict[str, int] = {}
    bad_responses: int = 0
    first_bad_at: float | None = None
    last_bad_at: float | None = None
    versions: dict[str, int] = {}
    last_candidate_at: float | None = None
    last_seconds: list[tuple[int, dict[str, int]]] = []

    def share(self, version: str, seconds: int | None = None) -> float:
        """Share of the answers that came from a version.

        Args:
            version: `stable` or `canary`.
            seconds: Only the last so many of `last_seconds`, the running one left out; everything by default.

        Returns:
            0–1, and 0 without any answer.
        """
        if seconds is None:
            counts = [self.versions]
        else:
            counts = [count for at, count in self.last_seconds if at >= int(self.written_at) - seconds][:-1]
        mine = sum(count.get(version, 0) for count in counts)
        total = sum(n for count in counts for name, n in count.items() if name not in {"bad", "dropped"})
        return mine / total if total else 0.0
