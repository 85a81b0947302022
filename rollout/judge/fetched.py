"""One HTTP request, and what came back: what gates want of a `WebSource`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

MOST_BYTES = 64 * 1024


class Request(NamedTuple):
    """What to ask of a connection.

    Attributes:
        path: below the connection's URL, with its query.
        method: GET or HEAD.
        headers: beside the connection's own, which win.
    """

    path: str
    method: Literal["GET", "HEAD"] = "GET"
    headers: Mapping[str, str] = MappingProxyType({})


class Fetched(NamedTuple):
    """What came back.

    Attributes:
        status: of the answer; None: the request was sent, and no complete answer came in the time that
            the connection allows.
        took_ms: from the beginning until the end of the body, or of its first 64 KiB, milliseconds.
        body: as text, at most 64 KiB; for looking into, never for logs.
        cut: whether the body was longer.
    """

    status: int | None
    took_ms: int
    body: str = ""
    cut: bool = False
