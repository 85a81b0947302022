"""Temporal's command line, which is the development server and its Web UI too.

Three ways, the quick ones first: the machine's own, the released binary through the Python SDK's downloader,
and compiling the published Go module (minutes, once a machine). Other 1.9 releases are as good; older ones
lack the time skipping that the tests rest on.
"""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tools.parts import go
from tools.parts.part import Part
from tools.parts.places import BIN, PYTHON, ROOT, TOOLS, digest, empty, link, on_path, stamp, stamped
from tools.parts.running import UnavailableError, ask

VERSION = "1.9.1"
_LINE = re.compile(r"temporal version (1\.9\.\d+)\b")
_MODULE = ROOT / "tools" / "temporal"
_PACKAGE = "github.com/temporalio/cli"
_ANSWER_SECONDS = 3  # how long the download host may take to say anything
_FETCH_SECONDS = 300  # and how long to send everything

# The SDK's downloader has no door of its own: starting a server is what makes it fetch one. Stopped at once.
_FETCH = """
import asyncio, sys
from temporalio.testing import WorkflowEnvironment
async def main():
    folder, version = sys.argv[1:]
    server = await WorkflowEnvironment.start_local(download_dest_dir=folder, dev_server_download_version=version)
    await server.shutdown()
asyncio.run(main())
"""


def _pins() -> str:
    return digest(VERSION, _MODULE / "go.mod", _MODULE / "go.sum")


def _answers(program: str | Path) -> str | None:
    found = _LINE.search(ask(program, "--version"))
    return found.group(1) if found else None


def _version() -> str | None:
    return _answers(BIN / "temporal") if stamped("temporal", _pins()) else None


def _obtain() -> None:
    machine = on_path("temporal")
    if machine is not None and _answers(machine):
        link("temporal", machine)
    elif (released := _download()) is not None:
        link("temporal", released)
    else:
        print("  compiling Temporal from its Go module: 5 to 15 minutes on 2 cores the first time, seconds later")
        built = TOOLS / "temporal" / "temporal"
        go.build(
            _MODULE,
            f"{_PACKAGE}/cmd/temporal",
            built,
            link_flags=f"-X {_PACKAGE}/internal/temporalcli.Version={VERSION}",
        )
        link("temporal", built)
    if not _answers(BIN / "temporal"):
        raise UnavailableError(f"the temporal just put at {BIN / 'temporal'} does not answer as 1.9")
    stamp("temporal", _pins())


def _download() -> Path | None:
    """Fetch the released binary through the SDK, giving up when nothing comes within a few seconds.

    The SDK puts a file into the folder once the host has answered; until then the folder is empty.

    Returns:
        The binary, or nothing when the host cannot be reached from here.
    """
    folder = empty(TOOLS / "temporal-released")
    process = subprocess.Popen(
        [PYTHON, "-c", _FETCH, str(folder), f"v{VERSION}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        began = time.monotonic()
        while process.poll() is None:
            patience = _FETCH_SECONDS if any(folder.iterdir()) else _ANSWER_SECONDS
            if time.monotonic() - began > patience:
                break
            time.sleep(0.1)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = next((file for file in folder.iterdir() if process.returncode == 0 and _answers(file)), None)
    print(f"  the released binary {'came' if found else 'cannot be fetched from here'} through the SDK's downloader")
    return found


TEMPORAL = Part(
    "temporal", "Temporal's command line, development server and Web UI", _version, _obtain, needs=("python",)
)
