"""A real nginx that is reloaded to move traffic, rendered from the configuration that operators copy.

Why rendered: see `testbed.envoy`. It runs as an ordinary program: its own prefix, pid file, logs and temporary files in
the bed's directory, on loopback, without becoming a daemon.

nginx's workers outlive a master that is killed, and go on serving: `kill` ends them as well, by their process ids.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from testbed.part import Part, answers
from testbed.parts import REPOSITORY, binary
from testbed.processes import LOOPBACK, free_ports, wait_until
from testbed.template import render

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = REPOSITORY / "deploy" / "nginx"
SERVICE_OF_EXAMPLE = "checkout"
RELOADED_WITHIN_S = 5.0

Mode = Literal["split-clients", "upstream-weights"]


class Nginx(Part):
    """One nginx in front of two shops.

    Attributes:
        url: Where visitors come in, with a slash at the end.
        admin_url: Its admin server, without a slash at the end.
        folder: Folder of the includes; kept over restarts.
        include: The file that Sluice writes.
        error_log: Where nginx says why it did not take a configuration.
        words: The words that run this very nginx: `-t` or `-s reload` are added.
    """

    def __init__(
        self,
        directory: Path,
        *,
        stable_port: int,
        candidate_port: int,
        service: str = "checkout",
        mode: Mode = "split-clients",
        name: str = "nginx",
    ) -> None:
        """Choose the ports; nothing is started.

        Args:
            directory: Where its own directory is made.
            stable_port: Of the stable shop.
            candidate_port: Of the candidate shop.
            service: Of `a-z`, `0-9` and `_`.
            mode: How it splits.
            name: Of the part and of its directory.
        """
        super().__init__(name, directory / name)
        self.service, self.mode = service, mode
        self._shops = {":8001": f":{stable_port}", ":8002": f":{candidate_port}"}
        self._port, self._admin_port = free_ports(2)
        self.url = f"http://{LOOPBACK}:{self._port}/"
        self.admin_url = f"http://{LOOPBACK}:{self._admin_port}"
        self.folder = self.directory / "sluice"
        self.include = self.folder / f"{service}.conf"
        self.error_log = self.directory / "error.log"
        self.configuration = self.directory / "nginx.conf"
        self.words = (str(binary("nginx")), "-p", str(self.directory), "-e", "error.log", "-c", "nginx.conf")

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts in the order of starting."""
        return (self,)

    def settings(self, name: str) -> str:
        """The table of a worker's settings.

        Args:
            name: Of the connection.
        """
        words = ", ".join(json.dumps(word) for word in self.words)
        visitors = f'visitors = {{ {self.service} = "{self.url}ready" }}'
        return (
            f'[connections.{name}]\nkind = "nginx"\n'
            f'hosts = [{{ name = "{self.name}", state = "{self.admin_url}", {visitors} }}]\n'
            f'folder = "{self.folder}"\nnginx = [{words}]\nerror_log = "{self.error_log}"\n'
        )

    def route(self, connection: str) -> dict[str, object]:
        """The spec's route.

        Args:
            connection: Its name in the worker's settings.
        """
        header = {"name": "X-Canary", "candidate": "true", "stable": "false"}
        route = {"kind": "nginx", "connection": connection, "service": self.service, "mode": self.mode}
        return {**route, "header": header}

    def seeds(self, service: str) -> dict[str, str]:
        """The operator's files for a service, by name; its pools are those of the bed's own service.

        Args:
            service: Of `a-z`, `0-9` and `_`.
        """
        files = [EXAMPLE / f"{SERVICE_OF_EXAMPLE}.locations", *(EXAMPLE / self.mode).iterdir()]
        texts = {file.name: file.read_text(encoding="utf-8") for file in files}
        for port, other in self._shops.items():
            texts = {name: text.replace(port, other) for name, text in texts.items()}
        return {
            name.replace(SERVICE_OF_EXAMPLE, service): text.replace(SERVICE_OF_EXAMPLE, service)
            for name, text in texts.items()
        }

    def prepare(self) -> None:
        """Write the configuration, and the seeds where there are none."""
        self.folder.mkdir(exist_ok=True)
        for name, text in self.seeds(self.service).items():
            if not (self.folder / name).exists():
                (self.folder / name).write_text(text, encoding="utf-8")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"    {kind}_temp_path temp_{kind};\n" for kind in kinds)
        replaced = {
            "user www-data;": f"user {getpass.getuser()};\ndaemon off;\nmaster_process on;",
            "/run/nginx.pid": "nginx.pid",
            "/var/log/nginx/error.log": str(self.error_log),
            "/var/log/nginx/access.log": "access.log",
            "/etc/nginx/sluice": "sluice",
            "listen 8080;": f"listen {LOOPBACK}:{self._port};",
            "127.0.0.1:8081": f"{LOOPBACK}:{self._admin_port}",
            # Our visitors count on one connection for all that they send; nginx would end it after 1000 requests.
            "http {\n": f"http {{\n{temporary}    keepalive_requests 1000000;\n",
            f"$sluice_{SERVICE_OF_EXAMPLE}_": f"$sluice_{self.service}_",
        }
        text = render((EXAMPLE / "nginx.conf").read_text(encoding="utf-8"), replaced)
        self.configuration.write_text(text, encoding="utf-8")

    def command(self) -> list[str | Path]:
        """Its command line."""
        return list(self.words)

    def ready(self) -> bool:
        """Whether a worker answers."""
        return answers(f"{self.admin_url}/sluice/{self.service}/state")

    def workers(self) -> set[int]:
        """Process ids of the workers that accept requests."""
        found = subprocess.run(
            ["ps", "--ppid", str(self.pid), "-o", "pid=,args="], capture_output=True, text=True, check=False
        )
        lines = [line.split(maxsplit=1) for line in found.stdout.splitlines()]
        return {int(pid) for pid, words in lines if "worker process" in words and "shutting down" not in words}

    def reload(self) -> None:
        """What an operator does after an edit, and wait until every worker has read it.

        Raises:
            PartFailed: When old workers are still there after a while.
        """
        before = self.workers()
        subprocess.run([*self.words, "-s", "reload"], check=True, capture_output=True, cwd=self.directory)
        wait_until(
            lambda: not before & (now := self.workers()) and bool(now),
            within_s=RELOADED_WITHIN_S,
            what=f"{self.name} has new workers",
            child=self.child,
        )

    def reset(self) -> None:
        """Back to 0 % without a mark, as an operator would; Sluice's own files beside the include go as well."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.prepare()
        if self.running:
            self.reload()

    def kill(self) -> None:
        """End the master and its workers with SIGKILL, as a machine that goes down would."""
        left = self.workers() if self.running else set()
        super().kill()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
