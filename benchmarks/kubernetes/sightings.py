"""Every version of every canary Ingress, with the moment at which a watch told of it.

A thread of its own reads the watch, so that the moments do not depend on how busy the benchmark's event loop is.
"""

import json
import ssl
import threading
import time
from typing import Any, NamedTuple, Self

import httpx

from testbed.kubernetes import ControlPlane
from testbed.kubernetes.api import path_of
from testbed.kubernetes.objects import NGINX
from testbed.processes import PartFailed


class Sighting(NamedTuple):
    """One version of a canary Ingress.

    Attributes:
        at: Unix seconds.
        percent: what its annotations say; None: it is gone.
        version: the API server's.
    """

    at: float
    percent: float | None
    version: str


Key = tuple[str, str]  # namespace and name


class Sightings:
    """A context manager; it ends with the API server at the latest."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._seen: dict[Key, list[Sighting]] = {}
        self._broken: str | None = None
        self._over = False
        self._listed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def of(self, key: Key, since: float = 0) -> list[Sighting]:
        """All versions of one Ingress since a moment, oldest first."""
        self._check()
        return [each for each in list(self._seen.get(key, ())) if each.at >= since]

    def percent(self, key: Key) -> float | None:
        """What one Ingress says now; None if it is not there."""
        self._check()
        seen = self._seen.get(key)
        return seen[-1].percent if seen else None

    def first(self, key: Key, percent: float | None, since: float = 0) -> float | None:
        """When one Ingress first said this since a moment; None if it has not."""
        return next((each.at for each in self.of(key, since) if each.percent == percent), None)

    def _check(self) -> None:
        if self._broken and not self._over:
            raise PartFailed(f"the watch of the Ingresses ended: {self._broken}")

    def _run(self) -> None:
        try:
            with self._client() as client:
                self._follow(client)
        except Exception as error:  # noqa: BLE001 - a thread's failure is told to whoever asks it next
            self._broken = f"{type(error).__name__}: {error}"
        else:
            self._broken = "by the API server"

    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self._control_plane.url,
            verify=ssl.create_default_context(cafile=str(self._control_plane.ca_file)),
            headers={"Authorization": f"Bearer {self._control_plane.admin_token}"},
            timeout=httpx.Timeout(5, read=None),
            trust_env=False,
        )

    def _follow(self, client: httpx.Client) -> None:
        found = client.get(path_of("Ingress")).raise_for_status().json()
        query = {"watch": "1", "resourceVersion": found["metadata"]["resourceVersion"], "timeoutSeconds": "7200"}
        self._listed.set()
        with client.stream("GET", path_of("Ingress"), params=query) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise RuntimeError(event["object"].get("message"))
                self._note(event["object"], gone=event["type"] == "DELETED")

    def _note(self, ingress: dict[str, Any], *, gone: bool) -> None:
        metadata = ingress["metadata"]
        if not metadata["name"].endswith("-canary"):
            return
        percent = None if gone else share(metadata.get("annotations") or {})
        sighting = Sighting(time.time(), percent, metadata["resourceVersion"])
        self._seen.setdefault((metadata["namespace"], metadata["name"]), []).append(sighting)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listed.wait(10):
            raise PartFailed(f"the Ingresses cannot be listed: {self._broken}")
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True


def share(annotations: dict[str, str]) -> float:
    """Percent of the requests, as ingress-nginx takes the annotations."""
    weight = annotations.get(f"{NGINX}canary-weight", "0")
    return 100 * int(weight) / int(annotations.get(f"{NGINX}canary-weight-total", "100"))
