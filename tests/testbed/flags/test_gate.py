import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from testbed.flags.gate import Fault, Gate


class Echo(BaseHTTPRequestHandler):
    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = f"{self.path} {self.headers['Authorization']} ".encode() + body
        self.send_response(201)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("ETag", '"7"')
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gate() -> Iterator[Gate]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.02,))
        thread.start()
        try:
            with Gate(f"http://127.0.0.1:{service.server_port}") as gate:
                yield gate
        finally:
            service.shutdown()
            thread.join()


@pytest.fixture
def visitor(gate: Gate) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gate.url, trust_env=False, timeout=0.3, headers={"Authorization": "me"}) as http:
        yield http


def test_without_a_fault_the_service_itself_answers(gate: Gate, visitor: httpx.Client) -> None:
    for word in ("one", "two"):  # over the same connection
        answer = visitor.patch("/a?b=c", content=word)
        assert (answer.status_code, answer.text, answer.headers["ETag"]) == (201, f"/a?b=c me {word}", '"7"')
    assert gate.seen == [("PATCH", "/a?b=c")] * 2


def test_an_answer_of_its_own_comes_from_the_gate(gate: Gate, visitor: httpx.Client) -> None:
    with gate.fault(Fault("answer", status=429, headers={"Retry-After": "2"}, body=b"later")):
        answer = visitor.patch("/", content="x")
        assert (answer.status_code, answer.headers["Retry-After"], answer.text) == (429, "2", "later")
    assert gate.seen == []
    assert visitor.patch("/").status_code == 201


def test_what_hangs_is_never_answered_and_what_is_cut_ends_at_once(gate: Gate, visitor: httpx.Client) -> None:
    with gate.fault(Fault("hang")), pytest.raises(httpx.ReadTimeout):
        visitor.patch("/")
    with gate.fault(Fault("cut")), pytest.raises(httpx.RemoteProtocolError):
        visitor.patch("/")
    assert gate.seen == []


def test_a_lost_answer_is_one_to_a_request_that_arrived(gate: Gate, visitor: httpx.Client) -> None:
    with gate.fault(Fault("lose")), pytest.raises(httpx.RemoteProtocolError):
        visitor.patch("/")
    assert gate.seen == [("PATCH", "/")]


def test_a_fault_may_hit_some_requests_only(gate: Gate, visitor: httpx.Client) -> None:
    with gate.fault(Fault("answer", when=lambda _, path: path == "/b")):
        assert [visitor.patch(path).status_code for path in ("/a", "/b")] == [201, 503]
