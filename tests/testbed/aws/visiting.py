"""Visitors of the simulated load balancer: one keep-alive connection, no retry, no cookies kept unless asked."""

from __future__ import annotations

from collections import Counter
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType


class Visits:
    """Sends one request after the other."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=5)
        self.cookie: str | None = None

    def one(self, path: str = "/", **fields: str) -> str:
        """Version that answered, or the status if nobody did."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        answer.read()
        if told := answer.getheader("set-cookie"):
            self.cookie = told.partition(";")[0]
        return answer.getheader("x-version") or str(answer.status)

    def many(self, count: int, path: str = "/", **fields: str) -> Counter[str]:
        """How often each version answered."""
        return Counter(self.one(path, **fields) for _ in range(count))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
