"""A strict double of Prometheus's HTTP API: answers what a test says, and refuses requests that Prometheus would.

It exists for the failures that a real server does not produce on demand; `test_real_prometheus.py` does the rest.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs

from activities.metrics.prometheus import PrometheusSource

RANGE_FIELDS = {"query", "start", "end", "step", "timeout"}
INSTANT_FIELDS = {"query", "timeout"}
RAW_FIELDS = {"query", "time", "timeout"}
FIELDS = {"/api/v1/query_range": [RANGE_FIELDS], "/api/v1/query": [INSTANT_FIELDS, RAW_FIELDS]}


T0 = 1_795_340_310_123
STEP = 15_000

Make = Callable[..., PrometheusSource]
"""Makes sources for the double, from the fields of a connection."""


async def one(source: PrometheusSource, query: str = "up") -> dict[str, float]:
    """Evaluate at one tick, `T0`."""
    return (await source.evaluate(query, T0, T0, STEP))[T0]


def success(kind: str, result: Any, **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


def matrix(*series: tuple[dict[str, str], list[tuple[float, str]]], **more: Any) -> bytes:
    return success("matrix", [{"metric": labels, "values": values} for labels, values in series], **more)


def error(kind: str, words: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": words}).encode()


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    form: dict[str, str]


@dataclass
class Double:
    """What it answers, and what it was asked.

    Attributes:
        url: its address.
        status: HTTP status of every answer.
        headers: of every answer, beside length and type.
        body: of every answer; or a function of the question.
        hang: accept, read, and say nothing.
        drip: seconds between two bytes of the body; 0 sends it at once.
        asked: every question so far.
    """

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Callable[[Asked], bytes] = b""
    hang: bool = False
    drip: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        double = cast("_Server", self.server).double
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        asked = Asked(self.path, dict(self.headers), {k: v for k, [v] in parse_qs(sent.decode()).items()})
        double.asked.append(asked)
        if self.headers["Content-Type"] != "application/x-www-form-urlencoded":
            self._answer(415, b"not a form", 0)
        elif asked.form.keys() not in FIELDS.get(self.path, []):
            self._answer(400, error("bad_data", f"not the fields of {self.path}: {sorted(asked.form)}"), 0)
        elif double.hang:
            double.over.wait()
            self.close_connection = True
        else:
            self._answer(double.status, double.body(asked) if callable(double.body) else double.body, double.drip)

    def do_GET(self) -> None:
        self._answer(405, b"GET is not for questions", 0)

    def _answer(self, status: int, body: bytes, drip: float) -> None:
        double = cast("_Server", self.server).double
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **double.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # a failed test may hold on to its connection, and this thread with it
        self.end_headers()
        if not drip:
            self.wfile.write(body)
            return
        for byte in body:
            if double.over.wait(drip):
                break
            try:
                self.wfile.write(bytes([byte]))
            except OSError:  # the asker had enough
                break
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, double: Double) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.double = double


@contextmanager
def running() -> Iterator[Double]:
    """The double on a port of its own."""
    double = Double()
    with _Server(double) as server:
        double.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield double
        finally:
            double.over.set()
            server.shutdown()
            thread.join()
