"""Clusters for the tests of what Kubernetes adapters share."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from activities.kubernetes import Cluster, KubernetesConnection

NO_TOKEN = "none"


@asynccontextmanager
async def opened(kubeconfig: Path, **settings: Any) -> AsyncIterator[Cluster]:
    """A cluster that is closed afterwards."""
    cluster = Cluster(KubernetesConnection(kubeconfig=kubeconfig, **settings))
    try:
        yield cluster
    finally:
        await cluster.aclose()


def kubeconfig_of(path: Path, url: str, token: str = NO_TOKEN, ca_file: Path | None = None) -> Path:
    """A kubeconfig with one context, as a file."""
    authority = {"certificate-authority": str(ca_file)} if ca_file else {}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "bed",
                "clusters": [{"name": "bed", "cluster": {"server": url, **authority}}],
                "users": [{"name": "bed", "user": {"token": token}}],
                "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "bed"}}],
            }
        )
    )
    return path


@contextmanager
def proxy(status: int, body: str | dict[str, Any], content: str = "text/html") -> Iterator[str]:
    """Something between us and the API server that answers everything itself."""
    text = body if isinstance(body, str) else json.dumps(body)

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "https://login.invalid/")
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_PATCH = do_POST = do_DELETE = do_GET  # noqa: N815 - names of http.server

        def log_message(self, *arguments: object) -> None:
            """Nothing: pytest shows what matters."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
