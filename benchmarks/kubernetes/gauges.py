"""An exporter with one error ratio a service: the probe that turns bad at a known moment."""

import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from testbed.processes import LOOPBACK

GOOD, BAD, LIMIT = 0.0, 0.10, 0.05
METRIC = "bench_error_ratio"


class Gauges:
    """A context manager; `address` is what Prometheus scrapes."""

    def __init__(self) -> None:
        values: dict[str, float] = {}

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lines = [f'{METRIC}{{service="{name}"}} {value}\n' for name, value in list(values.items())]
                body = "".join(lines).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: a line a scrape would bury the table."""

        self._values = values
        self._server = ThreadingHTTPServer((LOOPBACK, 0), Page)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.address = f"{LOOPBACK}:{self._server.server_port}"

    def set(self, names: Iterable[str], value: float) -> float:
        """Set the ratio of some services; answers with the moment, Unix seconds."""
        self._values.update(dict.fromkeys(names, value))
        return time.time()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def query(service: str) -> str:
    """The ratio of one service, in PromQL."""
    return f'{METRIC}{{service="{service}"}}'
