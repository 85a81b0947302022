"""Every percent that a route file has ever said: the witness of "nothing may raise a weight after an abort"."""

import json
import threading
import time
from pathlib import Path
from typing import Any, Self

LOOK_EVERY_S = 0.003


def read(file: Path) -> dict[str, Any]:
    """The route configuration in a route file."""
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    configuration: dict[str, Any] = document["resources"][0]
    return configuration


def percent(file: Path) -> float:
    """Percent of ordinary requests that a route file sends to the candidate."""
    configuration = read(file)
    rules = [rule for host in configuration["virtual_hosts"] for rule in host["routes"]]
    (ordinary,) = [rule for rule in rules if not rule.get("name", "").startswith("sluice-forced")]
    shares = ordinary["route"].get("weighted_clusters", {}).get("clusters", [])
    weights: dict[str, float] = {share["name"]: share["weight"] for share in shares}
    candidate = sum(weight for name, weight in weights.items() if name.endswith("-candidate"))
    return 100 * candidate / (sum(weights.values()) or 1)


def set_by_hand(file: Path, wanted: float) -> float:
    """Do what an operator's editor does: other weights, everything else kept, renamed into place.

    Returns:
        When it was done, Unix seconds.
    """
    document = json.loads(file.read_text(encoding="utf-8"))
    for host in document["resources"][0]["virtual_hosts"]:
        for rule in host["routes"]:
            for share in rule["route"].get("weighted_clusters", {}).get("clusters", []):
                whole = round(wanted * 100)
                share["weight"] = whole if share["name"].endswith("-candidate") else 10_000 - whole
    document["version_info"] = "by hand"
    draft = file.with_name(".by-hand")
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.rename(file)
    return time.time()


class RouteLog:
    """Reads a route file whenever it has been replaced; a context manager.

    Attributes:
        changes: Unix seconds and percent of every change, oldest first; the first is what was there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="route-log")
        self.changes: list[tuple[float, float]] = []

    @property
    def percents(self) -> list[float]:
        """Every percent in turn."""
        return [percent for _, percent in self.changes]

    def since(self, moment: float) -> list[float]:
        """Percents written after a moment, Unix seconds."""
        return [percent for at, percent in self.changes if at > moment]

    def _watch(self) -> None:
        seen = None
        while not self._over.wait(LOOK_EVERY_S):
            status = self._file.stat()
            if (status.st_ino, status.st_mtime_ns) == seen:
                continue
            seen = (status.st_ino, status.st_mtime_ns)
            now = percent(self._file)
            if not self.changes or self.changes[-1][1] != now:
                self.changes.append((time.time(), now))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
