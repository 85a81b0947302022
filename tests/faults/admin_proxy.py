"""A door to Envoy's admin pages that can be shut at an exact moment, while visitors go through Envoy untouched.

Why not freeze Envoy itself: then requests hang too, and "nothing was dropped" could not be told from "nobody came".
Why a condition and not just open or shut: a write and its proof are a few milliseconds apart. "Shut as soon as the
route file says 25 %" is always between the two; a sleep is there by luck.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx

from testbed.processes import LOOPBACK, free_ports

LOOK_EVERY_S = 0.005


class AdminProxy:
    """Passes GET requests on, one connection each, unless it is frozen.

    Attributes:
        url: What a worker is told instead of Envoy's own admin address.
        holding: Requests that wait for a thaw right now.
    """

    def __init__(self, upstream: str) -> None:
        self.holding = 0
        self._frozen: Callable[[], bool] = lambda: False
        self._upstream = httpx.Client(base_url=upstream, trust_env=False, timeout=5)
        self._server = ThreadingHTTPServer((LOOPBACK, free_ports(1)[0]), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="admin-proxy")
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"

    def freeze(self, when: Callable[[], bool] = lambda: True) -> None:
        """Answer nothing while the condition holds."""
        self._frozen = when

    def thaw(self) -> None:
        """Answer everything again."""
        self._frozen = lambda: False

    def fetch(self, path: str) -> httpx.Response | None:
        """Ask Envoy, after the thaw; None when it does not answer."""
        with self._held():
            while self._frozen():
                threading.Event().wait(LOOK_EVERY_S)
        try:
            return self._upstream.get(path)
        except httpx.HTTPError:
            return None

    @contextmanager
    def _held(self) -> Iterator[None]:
        if not self._frozen():
            yield
            return
        self.holding += 1
        try:
            yield
        finally:
            self.holding -= 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._upstream.close()


def _handler(proxy: AdminProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = proxy.fetch(self.path)
            with suppress(OSError):  # whoever asked was killed, or has given up
                if answer is not None:
                    self.send_response(answer.status_code)
                    self.send_header("Content-Length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Nothing: a test's output is its evidence."""

    return Handler
