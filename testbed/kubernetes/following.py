"""Following a namespace: a list, then a watch, and from the start when the watch breaks, as every controller does.

Why watches and not a poll: what a test changes is in force within milliseconds, and a quiet bed costs nothing. A dead
API server changes nothing here: what was seen last stays, as with a real proxy.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Final

import httpx

from testbed.kubernetes.api import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from testbed.kubernetes.control_plane import ControlPlane
    from testbed.kubernetes.rules import Seen

AGAIN_S: Final = 0.1
CONNECT_S: Final = 5.0


class Following:
    """What is in a namespace, kept up to date.

    Attributes:
        client: For requests of the follower's owner, on the same event loop.
    """

    def __init__(
        self, plane: ControlPlane, namespace: str, kinds: Sequence[str], changed: Callable[[Seen], None]
    ) -> None:
        """Connect to nothing yet.

        Args:
            plane: Whose API is followed.
            namespace: Of the objects.
            kinds: Of the objects.
            changed: Called with everything, once each kind was listed and after every change.
        """
        self._namespace = namespace
        self._kinds = kinds
        self._changed = changed
        self._seen: Seen = {}
        self.client = httpx.AsyncClient(
            base_url=plane.url,
            verify=ssl.create_default_context(cafile=str(plane.ca_file)),
            headers={"Authorization": f"Bearer {plane.admin_token}"},
            # A watch may be silent for as long as it likes; a dead server closes the connection.
            timeout=httpx.Timeout(CONNECT_S, read=None),
            trust_env=False,
        )

    async def run(self) -> None:
        """Follow until cancelled."""
        async with self.client, asyncio.TaskGroup() as group:
            for kind in self._kinds:
                group.create_task(self._follow(kind))

    async def _follow(self, kind: str) -> None:
        while True:
            try:
                await self._watch(kind, await self._list(kind))
            except httpx.HTTPError:  # no server, a resource that is not installed yet, a version that is too old
                await asyncio.sleep(AGAIN_S)

    async def _list(self, kind: str) -> str:
        answer = await self.client.get(path_of(kind, namespace=self._namespace))
        found = answer.raise_for_status().json()
        self._seen[kind] = {each["metadata"]["name"]: each for each in found["items"]}
        self._tell()
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, kind: str, version: str) -> None:
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with self.client.stream("GET", path_of(kind, namespace=self._namespace), params=query) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                event = json.loads(line)
                found = event["object"]
                match event["type"]:
                    case "ADDED" | "MODIFIED":
                        # A new dictionary: what was told earlier stays as it was.
                        self._seen[kind] = {**self._seen[kind], found["metadata"]["name"]: found}
                    case "DELETED":
                        gone = found["metadata"]["name"]
                        self._seen[kind] = {name: each for name, each in self._seen[kind].items() if name != gone}
                    case "BOOKMARK":
                        continue
                    case _:
                        return  # an error, as a rule "too old": list again
                self._tell()

    def _tell(self) -> None:
        if len(self._seen) == len(self._kinds):
            self._changed(dict(self._seen))
