"""An upstream that is never the bottleneck: nginx answering by itself, with the version in a header."""

from pathlib import Path

from testbed.part import Part, answers
from testbed.parts import binary
from testbed.processes import LOOPBACK, free_ports

_CONFIG = """\
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000; keepalive_timeout 1h;
  server {{ listen {address}; add_header X-Version {version}; location / {{ return 200 "ok"; }} }}
}}
"""


class Upstream(Part):
    """One version."""

    def __init__(self, directory: Path, version: str) -> None:
        super().__init__(f"upstream-{version}", directory / f"upstream-{version}")
        self.version, self.port = version, free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        address = f"{LOOPBACK}:{self.port}"
        text = _CONFIG.format(folder=self.directory, address=address, version=self.version)
        (self.directory / "nginx.conf").write_text(text, encoding="utf-8")

    def command(self) -> list[str | Path]:
        words: list[str | Path] = [binary("nginx"), "-p", self.directory, "-c", self.directory / "nginx.conf"]
        return [*words, "-e", self.log, "-g", "daemon off;"]

    def ready(self) -> bool:
        return answers(f"{self.url}/ready")
