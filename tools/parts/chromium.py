"""A browser without a window, for the screenshots of the Web UI that tests and documentation take.

The machine's own, else Debian's package with its libraries and one font, unpacked. Unpacked libraries are
found through a small starter at `.tools/bin/chromium`, whichever way it came.
"""

import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from tools.parts import debian
from tools.parts.part import Part
from tools.parts.places import BIN, ROOT, TOOLS, digest, on_path, stamp, stamped
from tools.parts.running import UnavailableError, ask

_PACKAGES = ("chromium", "fonts-dejavu-core")
_FOLDER = TOOLS / "chromium"
_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")

# Without these it keeps calling home, and does not start for root.
_QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
    "--disable-background-networking --disable-component-update --disable-sync"
)

_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}/font-cache</cachedir>
  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


def _pins() -> str:
    return digest(str(ROOT), Path(__file__))


def _version() -> str | None:
    if not stamped("chromium", _pins()):
        return None
    found = re.search(r"\d+\.\d+[.\d]*", ask(BIN / "chromium", "--version"))
    return found.group() if found else None


def _obtain() -> None:
    machine = on_path("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    if machine is None and _MAC.exists():
        machine = str(_MAC)
    if machine is not None:
        _write_starter(f"exec {shlex.quote(machine)}")
    else:
        _unpack()
    _prove()
    stamp("chromium", _pins())


def _unpack() -> None:
    if sys.platform != "linux":
        raise UnavailableError("install Chromium or Google Chrome, so that it is on PATH.")
    try:
        debian.unpack(_PACKAGES, _FOLDER, with_dependencies=True)
    except UnavailableError as error:
        raise UnavailableError(f"{error}\n  Install Chromium, so that `chromium` is on PATH.") from error
    (_FOLDER / "fonts.conf").write_text(_FONTS.format(folder=_FOLDER))
    program = _FOLDER / "usr" / "lib" / "chromium" / "chromium"
    _write_starter(
        f"export LD_LIBRARY_PATH={shlex.quote(debian.libraries(_FOLDER))}\n"
        f"export FONTCONFIG_FILE={shlex.quote(str(_FOLDER / 'fonts.conf'))}\n"
        f"exec {shlex.quote(str(program))}"
    )


def _write_starter(how: str) -> None:
    BIN.mkdir(parents=True, exist_ok=True)
    starter = BIN / "chromium"
    starter.unlink(missing_ok=True)
    starter.write_text(f'#!/bin/sh\n{how} {_QUIET} "$@"\n')
    starter.chmod(0o755)


def _prove() -> None:
    """Have it draw a page: a browser that prints its version may still lack a library or a font."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-browser-"))
    try:
        picture = folder / "page.png"
        page = "data:text/html,<h1>Sluice</h1>"
        options = [f"--user-data-dir={folder / 'profile'}", "--window-size=400,200", f"--screenshot={picture}"]
        ask(BIN / "chromium", *options, page, seconds=60)
        if not picture.exists() or not picture.read_bytes().startswith(b"\x89PNG"):
            raise UnavailableError(
                "the browser is there but draws no page; `.tools/bin/chromium about:blank` says why."
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


CHROMIUM = Part("chromium", "a headless browser for screenshots", _version, _obtain, optional=True)
