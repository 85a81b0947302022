"""Where the nginx of a connection are, and how their files and their command are reached.

Shared by both ways to move an nginx: rewriting an include and reloading, and changing a split in running workers.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from rollout.base import Name, Written

Ssh = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+@([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$")]

VisitorsUrl = Annotated[str, StringConstraints(pattern=r"^http://[^@/\s]+(/[^\s#]*)?$")]


class NginxHost(Written):
    """One nginx.

    Attributes:
        name: what messages call it.
        ssh: `user@host` or `user@host:port`; None if it runs on the worker's own machine and shares its files.
        state: URL of its admin server, as the worker reaches it, without user and password and without a path.
        visitors: service → URL at which its visitors come in, over http as nginx's own machine reaches it, with a path
            that costs little: it is asked at every look. nginx must answer with the header `X-Sluice-Pool`. A service
            that is missing here is not looked at.
    """

    name: Name
    ssh: Ssh | None = None
    state: str = Field(pattern=r"^https?://[^@/\s]+/?$")
    visitors: dict[str, VisitorsUrl] = Field(default_factory=dict)


class NginxConnection(Written):
    """One nginx, or several that are always moved together.

    Attributes:
        kind: always "nginx".
        hosts: at least one, names all different.
        folder: folder of the includes on every host (`<service>.conf`), which the user of the connection may write.
        nginx: words that run nginx there, such as `["sudo", "nginx"]`; `-t`, `-T` and `-s reload` are added.
        error_log: nginx's error log on the hosts, where alone it says why it did not take a configuration; None if
            nobody but root may read it.
        ssh_key: private key, on the worker's machine; None: the keys of the worker's user and its agent.
        known_hosts: host keys to believe; None: `~/.ssh/known_hosts` of the worker's user. Always checked.
        ready: path that is asked of each pool to see whether it can take traffic.
        timeout_s: for one request, one connection or one file, seconds; reloads may take several times that.
    """

    kind: Literal["nginx"] = "nginx"
    hosts: tuple[NginxHost, ...] = Field(min_length=1)
    folder: Path
    nginx: tuple[str, ...] = Field(default=("nginx",), min_length=1)
    error_log: Path | None = None
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    ready: str = Field(default="/ready", pattern=r"^/[^\s]*$")
    timeout_s: float = Field(default=5, gt=0)

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        names = [host.name for host in self.hosts]
        if len(set(names)) < len(names):
            raise ValueError(f"hosts need different names, found {', '.join(names)}")
        return self


def variable(service: str) -> str:
    """A service's name as nginx's variables and paths spell it: `a-z`, `0-9` and `_`.

    Two services that differ in nothing else would share their variables, and nginx refuses the second.
    """
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in service.lower())
