"""Raw samples of a real Prometheus, from a target that knows how often it was scraped."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import httpx
import pytest
import yaml

from activities.metrics import source_for
from activities.metrics.prometheus import PrometheusConnection, PrometheusSource
from testbed.processes import LOOPBACK, wait_until, wait_until_async
from testbed.prometheus import Prometheus
from tests.activities.metrics.contract import SamplesContract, Stand

pytestmark = pytest.mark.server


class _Target(ThreadingHTTPServer):
    """Counts its scrapes, and shows that count as the metric."""

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.served = self.failed = self.scrapes = 0
        self.fails = False
        self.lock = threading.Lock()

    def page(self) -> str:
        with self.lock:
            self.scrapes += 1
            self.served += 1
            lines = ["# TYPE visits_total counter", f'visits_total{{version="canary",status="200"}} {self.served}']
            if self.fails:
                self.failed += 1
                lines.append(f'visits_total{{version="canary",status="500"}} {self.failed}')
            return "\n".join([*lines, ""])


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = cast("_Target", self.server).page().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class _Hasty(Prometheus):
    """Scrapes five times a second: the tests wait for scrapes."""

    def prepare(self) -> None:
        super().prepare()
        file = self.directory / "prometheus.yml"
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        config["global"] |= {"scrape_interval": "200ms", "scrape_timeout": "200ms"}
        file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


class PrometheusStand(Stand):
    """A real Prometheus that scrapes the target."""

    scrape_ms = 200

    def __init__(self, folder: Path, target: _Target) -> None:
        self.target = target
        self.server = _Hasty(folder, targets={"shop": [f"{LOOPBACK}:{target.server_port}"]})
        self.asking: PrometheusSource

    def source(self) -> PrometheusSource:
        return self.asking

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def scraped(self, times: int) -> None:
        # One scrape may have begun before somebody restarted the target, and the last is stored after it was served.
        wanted = self.target.scrapes + times + 1
        await wait_until_async(
            lambda: self.target.scrapes >= wanted, within_s=30, what="scrapes", child=self.server.child
        )

    def restart(self) -> None:
        with self.target.lock:
            self.target.served, self.target.failed, self.target.fails = 0, 0, False

    def fail(self) -> None:
        with self.target.lock:
            self.target.fails = True

    def stop(self) -> None:
        self.server.pause()

    def start(self) -> None:
        self.server.resume()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusStand]:
    with _Target() as target:
        thread = threading.Thread(target=target.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stand = PrometheusStand(tmp_path_factory.mktemp("prometheus"), target)
        try:
            with stand.server as server:
                wait_until(lambda: bool(server.query("visits_total")), within_s=20, what="a scrape", child=server.child)
                yield stand
        finally:
            target.shutdown()
            thread.join()


class TestPrometheus(SamplesContract):
    @pytest.fixture
    def stand(self, standing: PrometheusStand) -> Iterator[PrometheusStand]:
        with ThreadPoolExecutor(2) as threads:
            standing.asking = source_for(PrometheusConnection(url=standing.server.url, timeout_s=2), threads)
            yield standing
            standing.asking.close()

    async def test_the_servers_own_numbers_are_the_same(self, stand: PrometheusStand) -> None:
        await stand.scraped(2)
        now = stand.now_ms()
        [series] = await stand.source().samples('visits_total{status="200"}', now - 30_000, now)
        async with httpx.AsyncClient(trust_env=False) as http:
            said = await http.get(
                f"{stand.server.url}/api/v1/query",
                params={"query": 'visits_total{status="200"}[30s]', "time": str(now / 1000)},
            )
        [own] = said.json()["data"]["result"]
        assert [[at / 1000, f"{value:g}"] for at, value in series.points] == own["values"]
