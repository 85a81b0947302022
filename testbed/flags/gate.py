"""A door in front of a flag service, where requests can be kept waiting, cut, refused or lost on the way back.

Why not freeze the service itself: it comes back slowly, and a test that says "the answer was lost, the write arrived"
must hit one request. Whoever asks is given the service's own answer, unless a fault says otherwise.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal, Self

import httpx

from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_UPSTREAM_TIMEOUT_S = 10.0
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "date", "server"}


@dataclass(frozen=True)
class Fault:
    """What is wrong.

    Attributes:
        kind: `hang`: no answer until it is over; `cut`: the connection ends without an answer; `lose`: the same after
            the service has done what it was asked; `answer`: an answer of our own.
        status: of the answer of our own.
        headers: of the answer of our own.
        body: of the answer of our own.
        when: which requests it hits, by method and path; all by default.
    """

    kind: Literal["hang", "cut", "lose", "answer"]
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    when: Callable[[str, str], bool] = lambda _method, _path: True


class Gate:
    """Passes HTTP requests on to a service.

    Attributes:
        url: What others are told instead of the service's own address.
        seen: Method and path of every request that was let through, oldest first.
    """

    def __init__(self, upstream: str) -> None:
        """Take the address of the service; nothing is opened before the `with` block."""
        self.seen: list[tuple[str, str]] = []
        self._fault: Fault | None = None
        self._over = threading.Event()
        self._asking, self._changed, self._closed = 0, threading.Condition(), False
        limits = httpx.Limits(max_keepalive_connections=0)
        self._upstream = httpx.Client(base_url=upstream, trust_env=False, timeout=_UPSTREAM_TIMEOUT_S, limits=limits)
        self._server = ThreadingHTTPServer((LOOPBACK, free_ports(1)[0]), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="gate")
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """Let something be wrong for a while; what hangs then is cut at the end."""
        self._over = threading.Event()
        self._fault = fault
        try:
            yield
        finally:
            self._fault = None
            self._over.set()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response | None:
        """The answer to a request; None if there is none."""
        fault, over = self._fault, self._over
        hit = fault is not None and fault.when(method, path)
        if fault and hit and fault.kind == "answer":
            return httpx.Response(fault.status, headers=fault.headers, content=fault.body)
        if fault and hit and fault.kind != "lose":
            if fault.kind == "hang":
                over.wait()
            return None
        self.seen.append((method, path))
        answer = self._asked(method, path, headers, body)
        return None if hit else answer

    def _asked(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response | None:
        """What the service answers; nobody is asked after the end, or a connection would be left open."""
        with self._changed:
            if self._closed:
                return None
            self._asking += 1
        try:
            return self._upstream.request(method, path, headers=headers, content=body)
        except httpx.HTTPError:
            return None
        finally:
            with self._changed:
                self._asking -= 1
                self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._asking, timeout=_UPSTREAM_TIMEOUT_S)
        self._upstream.close()


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with suppress(OSError):  # whoever asked was killed, or has given up
                super().handle_one_request()

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))  # first: the connection is used again
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in {"host", *_HOP_BY_HOP}
            }
            answer = gate.answer(self.command, self.path, headers, body)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its evidence."""

    return Handler
