"""An HTTP service in memory: every path has an answer, until a test says another one."""

from dataclasses import dataclass, field

from rollout.errors import MetricsUnavailable
from rollout.judge.fetched import MOST_BYTES, Fetched, Request

NOT_FOUND = Fetched(404, 1, "not here")


@dataclass
class FakeWeb:
    """One HTTP service.

    Attributes:
        reachable: whether it answers.
        answers: path → answer; anything else is not found.
        asked: every request so far.
    """

    reachable: bool = True
    answers: dict[str, Fetched] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)

    def say(self, path: str, body: str = "", *, status: int | None = 200, took_ms: int = 1) -> None:
        """From now on this path has this answer; a longer body is cut, as the real one is. No status: no answer."""
        self.answers[path] = Fetched(status, took_ms, body[:MOST_BYTES], len(body) > MOST_BYTES)

    async def fetch(self, request: Request) -> Fetched:
        """See `ports.WebSource.fetch`."""
        if not self.reachable:
            raise MetricsUnavailable("nobody answers")
        self.asked.append(request)
        found = self.answers.get(request.path, NOT_FOUND)
        return found._replace(body="", cut=False) if request.method == "HEAD" else found
