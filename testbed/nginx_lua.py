"""A real nginx that is moved without reloads, rendered from the operator's example with the product's own Lua.

Why rendered and not written here: the example is what people copy, so it is what must be proven. Only addresses, ports
and paths are replaced, and each must be there.

nginx's workers outlive a master that is killed, and would keep the ports. So `kill` and `pause` reach all of them, and
each worker ends itself when its master is gone.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NamedTuple

import httpx

from testbed.part import Part, answers
from testbed.parts import REPOSITORY, PartMissing, binary
from testbed.processes import LOOPBACK, free_ports
from testbed.template import render

LUA = REPOSITORY / "deploy" / "nginx"
TEMPLATE = LUA / "lua.conf"
SERVICE_OF_TEMPLATE = "checkout"
REQUEST_TIMEOUT_S = 5.0
_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")  # in this order: the second needs the first
_ROOTS = (REPOSITORY / ".tools" / "nginx", Path("/"))
_ENDS_WITH_MASTER = """
    local ffi = require "ffi"
    ffi.cdef "int getppid(void);"
    local master = ffi.C.getppid()
    ngx.timer.every(0.5, function()
        if ffi.C.getppid() ~= master then ffi.C.kill(ffi.C.getpid(), 9) end
    end)"""


class LuaModules(NamedTuple):
    """nginx's Lua module on this machine.

    Attributes:
        load: Files for `load_module`, in order.
        path: Directory of lua-resty-core.
    """

    load: tuple[Path, ...]
    path: Path


def lua_modules(roots: tuple[Path, ...] = _ROOTS) -> LuaModules:
    """Find nginx's Lua module and its library.

    Args:
        roots: Where a `usr` may hold them; the first one that does wins.

    Raises:
        PartMissing: When it is in none of these places.
    """
    for root in roots:
        load = tuple(root / "usr" / "lib" / "nginx" / "modules" / name for name in _MODULES)
        path = root / "usr" / "share" / "lua" / "5.1"
        if all(file.exists() for file in load) and (path / "resty" / "core.lua").exists():
            return LuaModules(load, path)
    tried = ", ".join(str(root / "usr" / "lib" / "nginx" / "modules") for root in roots)
    raise PartMissing(
        f"nginx's Lua module ({' and '.join(_MODULES)}, with lua-resty-core) was not found in {tried}; "
        "run `make setup` in the repository, or install libnginx-mod-http-lua."
    )


class NginxLua(Part):
    """One nginx with two workers in front of two shops.

    Attributes:
        url: Where visitors come in, with a slash at the end.
        admin_url: The admin server, without a slash at the end.
        folder: Where the documents are; kept over restarts.
        parts: What has to run, in the order of starting.
    """

    def __init__(
        self,
        directory: Path,
        *,
        stable_port: int,
        candidate_port: int,
        service: str = "checkout",
        other_services: tuple[str, ...] = (),
        name: str = "nginx-lua",
    ) -> None:
        """Choose ports; nothing is started.

        Args:
            directory: Where configuration, documents and log go.
            stable_port: Of the stable shop.
            candidate_port: Of the candidate shop.
            service: What visitors come for, and the pools' name before `-stable` and `-candidate`.
            other_services: Known to Sluice besides, with pools of the same kind.
            name: Name of the part, its log and its host.
        """
        super().__init__(name, directory)
        self.service = service
        self._others = other_services
        self._shops = (stable_port, candidate_port)
        self._admin_port, self._listener_port = free_ports(2)
        self.url = f"http://{LOOPBACK}:{self._listener_port}/"
        self.admin_url = f"http://{LOOPBACK}:{self._admin_port}"
        self.folder = self.directory / f"{name}-documents"
        self.parts: tuple[Part, ...] = (self,)

    def prepare(self) -> None:
        """Write the configuration."""
        self.folder.mkdir(exist_ok=True)
        modules = lua_modules()
        (self.directory / f"{self.name}.split.conf").write_text(self.rendered(modules.path), encoding="utf-8")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        words = [
            *(f"load_module {file};" for file in modules.load),
            "user root;" if os.geteuid() == 0 else "",  # else the workers could not write below a private directory
            f"pid {self.directory / self.name}.pid;",
            "error_log stderr warn;",
            "daemon off;",
            "worker_processes 2;",
            "events { worker_connections 1024; }",
            "http {",
            "access_log off;",
            *(f"{kind}_temp_path {self.directory / self.name}.{kind};" for kind in kinds),
            f"include {self.directory / self.name}.split.conf;",
            "}",
        ]
        self._file.write_text("\n".join(words) + "\n", encoding="utf-8")

    def rendered(self, library: Path) -> str:
        """The operator's example for this machine.

        Args:
            library: Directory of lua-resty-core.
        """
        stable, candidate = self._shops
        services = ", ".join(f'["{name}"] = {{}}' for name in (self.service, *self._others))
        upstreams = [
            f"upstream {name}-{pool} {{ server {LOOPBACK}:{port}; }}\n"
            for name in self._others
            for pool, port in (("stable", stable), ("candidate", candidate))
        ]
        text = render(
            TEMPLATE.read_text(encoding="utf-8"),
            {
                "/etc/nginx/sluice/?.lua;;": f"{LUA}/?.lua;{library}/?.lua;;",
                "/var/lib/sluice": str(self.folder),
                "services = { checkout = {} }": f"services = {{ {services} }}",
                'require("sluice").start()': f'require("sluice").start() {_ENDS_WITH_MASTER}',
                "shop-stable:8000": f"{LOOPBACK}:{stable}",
                "shop-candidate:8000": f"{LOOPBACK}:{candidate}",
                "listen 8080": f"listen {LOOPBACK}:{self._listener_port}",
                "listen 127.0.0.1:8081": f"listen {LOOPBACK}:{self._admin_port}",
                f'choose("{SERVICE_OF_TEMPLATE}")': f'choose("{self.service}")',
                f"upstream {SERVICE_OF_TEMPLATE}-": f"upstream {self.service}-",
            },
        )
        return text + "".join(upstreams)

    def command(self) -> list[str | Path]:
        """What starts it."""
        return [binary("nginx"), "-e", "stderr", "-p", self.directory, "-c", self._file]

    def ready(self) -> bool:
        """Whether it shows the service."""
        return answers(f"{self.admin_url}/sluice/{self.service}")

    def reload(self) -> None:
        """Start new workers, as an operator does after a change of the configuration."""
        self.child_signal(signal.SIGHUP)

    def child_signal(self, number: signal.Signals) -> None:
        """Send a signal to the master alone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End master and workers with SIGKILL."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        super().kill()

    def pause(self) -> None:
        """Freeze master and workers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def settings(self, name: str) -> str:
        """The worker's settings for this nginx, as TOML.

        Args:
            name: What specs call the connection.
        """
        host = f'{{ name = "{self.name}", state = "{self.admin_url}" }}'
        return f'[connections.{name}]\nkind = "nginx"\nfolder = "{self.folder}"\nhosts = [{host}]\n'

    def route(self, connection: str) -> dict[str, object]:
        """The route, as a spec has it.

        Args:
            connection: Name of the connection in the worker's settings.
        """
        header = {"name": "X-Canary", "candidate": "true", "stable": "false"}
        names = {"kind": "nginx", "connection": connection, "service": self.service}
        return {**names, "mode": "shared-dict", "header": header}

    def reset(self) -> None:
        """Back to 0 % without a mark: takes the document away, as an operator does by hand.

        Raises:
            httpx.HTTPError: When nginx does not answer, or somebody changes the document at the same time.
        """
        url = f"{self.admin_url}/sluice/{self.service}"
        with httpx.Client(trust_env=False, timeout=REQUEST_TIMEOUT_S) as http:
            if tag := http.get(url).raise_for_status().headers.get("etag"):
                http.delete(url, headers={"If-Match": tag}).raise_for_status()

    @property
    def _file(self) -> Path:
        return self.directory / f"{self.name}.conf"
