"""What it costs: CPU and memory of a process out of /proc, requests out of the API server's own counter."""

import os
import re
import ssl
import time
from pathlib import Path
from typing import NamedTuple

import httpx

from testbed.kubernetes import ControlPlane

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_REQUESTS = re.compile(r"^apiserver_request_total\{.*\} (\S+)$", re.MULTILINE)
_LATE = re.compile(r'^sluice_poll_lateness\w*_bucket\{.*\ble="([^"]+)".*\} (\S+)$', re.MULTILINE)


class Meter(NamedTuple):
    """Counters at a moment."""

    at: float
    cpu_s: dict[str, float]
    requests: float

    @classmethod
    def read(cls, pids: dict[str, int], control_plane: ControlPlane) -> "Meter":
        """Read them all.

        Args:
            pids: processes by name.
            control_plane: whose requests are counted, those of controllers and kwok included.
        """
        context = ssl.create_default_context(cafile=str(control_plane.ca_file))
        headers = {"Authorization": f"Bearer {control_plane.admin_token}"}
        page = httpx.get(f"{control_plane.url}/metrics", verify=context, headers=headers, timeout=20, trust_env=False)
        requests = sum(float(value) for value in _REQUESTS.findall(page.raise_for_status().text))
        return cls(time.monotonic(), {name: cpu_s(pid) for name, pid in pids.items()}, requests)

    def since(self, before: "Meter") -> dict[str, float]:
        """CPU in percent of one core, and requests a second, since an earlier moment."""
        took_s = self.at - before.at
        shares = {f"{name} CPU %": 100 * (now - before.cpu_s[name]) / took_s for name, now in self.cpu_s.items()}
        return {**shares, "API requests/s": (self.requests - before.requests) / took_s}


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, all its threads together."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS_A_SECOND


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024


def lateness(metrics_url: str) -> list[tuple[float, float]]:
    """How late polls were: upper bounds of buckets, in the metric's unit, and how many polls up to them."""
    page = httpx.get(metrics_url, timeout=5, trust_env=False).raise_for_status().text
    return sorted((float(bound.replace("+Inf", "inf")), float(count)) for bound, count in _LATE.findall(page))
