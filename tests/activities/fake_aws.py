"""A small server of ours that answers as AWS does, and AWS's client for it."""

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from activities.aws import AwsClients, AwsConnection

SPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"

Clients = Callable[..., AwsClients]


def answered(operation: str, inside: str = "") -> str:
    return f'<{operation}Response xmlns="{SPACE}"><{operation}Result>{inside}</{operation}Result></{operation}Response>'


def refused(code: str, message: str = "Rate exceeded") -> str:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return f'<ErrorResponse xmlns="{SPACE}">{error}<RequestId>r</RequestId></ErrorResponse>'


def paged(asked: dict[str, str]) -> tuple[int, str]:
    number = int(asked.get("Marker", "0"))
    rule = f"<Rules><member><RuleArn>rule-{number}</RuleArn></member></Rules>"
    return 200, answered("DescribeRules", rule + (f"<NextMarker>{number + 1}</NextMarker>" if number < 6 else ""))


class FakeAws(ThreadingHTTPServer):
    """Answers by `plan`; `asked` has the parameters of every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, str]] = []
        self.plan: Callable[[dict[str, str]], tuple[int, str] | None] = lambda asked: (200, answered(asked["Action"]))
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def operations(self) -> list[str]:
        return [each["Action"] for each in self.asked]


class _Handler(BaseHTTPRequestHandler):
    server: FakeAws

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = {key: values[0] for key, values in parse_qs(body).items()}
        asked["Authorization"] = self.headers.get("Authorization", "")
        self.server.asked.append(asked)
        told = self.server.plan(asked)
        if told is None:
            self.close_connection = True
            return
        status, text = told
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


class AsksFakeAws:
    """Fixtures of the server and of clients that ask it; inherit it."""

    @pytest.fixture
    def fake(self) -> Iterator[FakeAws]:
        with FakeAws() as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            yield server
            server.shutdown()
            thread.join()

    @pytest.fixture
    def credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        told = {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "very-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)

    @pytest.fixture
    async def connect(self, fake: FakeAws, credentials: None) -> AsyncIterator[Clients]:
        made: list[AwsClients] = []
        with ThreadPoolExecutor(4) as threads:

            def clients(**settings: Any) -> AwsClients:
                told = {"region": "eu-central-1", "endpoint_url": fake.url, "timeout_s": 1, "calls_per_second": 1000}
                made.append(AwsClients(AwsConnection.model_validate({**told, **settings}), threads))
                return made[-1]

            yield clients
            for each in made:
                await each.aclose()
