"""A picture of a page: `python -m tools.screenshot URL OUT.png --wait-for TEXT`.

Why over the debugging protocol and not with the browser's own `--screenshot`: Temporal's Web UI keeps asking its
server, so it is never "loaded"; `--virtual-time-budget` waits for ever and `--timeout` takes a blank page. Here the
page says itself when it is ready: the text that the picture is about is on it.

Why not Playwright or Selenium: both bring browsers or drivers of their own, and thirty lines are enough.
"""

import argparse
import asyncio
import base64
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

from testbed.parts import PartMissing, binary

SIZE: Final = (1400, 1000)
WITHIN_S: Final = 60.0
ENDS_WITHIN_S: Final = 5.0
MOST_BYTES: Final = 64 * 2**20
SETTLES_S: Final = 0.5  # what animates, such as a bar that grows, comes to rest
_LISTENING: Final = re.compile(rb"DevTools listening on (ws://\S+)")
# The text of the page and of every frame in it: the Web UI shows Markdown in frames.
_TEXT: Final = """
[document, ...[...document.querySelectorAll('iframe')].map(frame => frame.contentDocument)]
    .map(page => page?.body?.innerText ?? '').join('\\n')
"""
_CLICK: Final = """
(button => button ? (button.click(), true) : false)(
    [...document.querySelectorAll('button')].find(button => button.innerText.trim() === %s))
"""


class NotShown(Exception):
    """The page did not show what was waited for; the message ends with what it showed."""


class Page:
    """One open page."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self._socket = socket
        self._session = session
        self._number = 0

    async def do(self, method: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Call a method of the DevTools protocol; answers with its result.

        Raises:
            RuntimeError: The browser refused.
        """
        self._number += 1
        call = {"id": self._number, "method": method, "params": arguments}
        await self._socket.send(json.dumps({**call, "sessionId": self._session} if self._session else call))
        while True:
            said = json.loads(await self._socket.recv())
            if said.get("id") != self._number:
                continue  # an event
            if "error" in said:
                raise RuntimeError(f"{method}: {said['error']['message']}")
            return dict(said["result"])

    async def evaluate(self, script: str) -> Any:  # noqa: ANN401 - JSON
        """Run JavaScript in the page; answers with its value, None while the page is being replaced."""
        said = await self.do("Runtime.evaluate", expression=script, returnByValue=True)
        return said.get("result", {}).get("value")

    async def text(self) -> str:
        """What a person reads."""
        return str(await self.evaluate(_TEXT) or "")

    async def open(self, url: str, needles: Sequence[str] = (), within_s: float = WITHIN_S) -> str:
        """Go to an address and wait until every needle is on the page; answers with its text.

        Raises:
            NotShown: One is not, in time.
        """
        await self.do("Page.navigate", url=url)
        return await self.wait_for(needles, within_s)

    async def wait_for(self, needles: Sequence[str], within_s: float = WITHIN_S) -> str:
        """Wait until every needle is on the page; answers with its text.

        Raises:
            NotShown: One is not, in time.
        """
        deadline = time.monotonic() + within_s
        while True:
            text = await self.text()
            missing = [needle for needle in needles if needle not in text]
            if text and not missing:
                return text
            if time.monotonic() > deadline:
                raise NotShown(f"not on the page within {within_s:g} s: {missing}. It shows:\n{text}")
            await asyncio.sleep(0.1)

    async def click(self, label: str) -> None:
        """Press the button with exactly this label.

        Raises:
            NotShown: There is none.
        """
        pressed = await self.evaluate(_CLICK % json.dumps(label))
        if not pressed:
            raise NotShown(f"there is no button {label!r}. The page shows:\n{await self.text()}")

    async def picture(self) -> bytes:
        """A PNG of what is in the window, once it is at rest."""
        await asyncio.sleep(SETTLES_S)
        shot = await self.do("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def browser(size: tuple[int, int] = SIZE) -> AsyncIterator[Page]:
    """A page in a headless browser of its own, which ends with it.

    Args:
        size: Width and height of the window, pixels.

    Raises:
        PartMissing: There is no Chromium.
    """
    profile = tempfile.mkdtemp(prefix="sluice-browser-")
    async with AsyncExitStack() as over:
        over.callback(shutil.rmtree, profile, ignore_errors=True)
        process = await asyncio.create_subprocess_exec(
            binary("chromium"),
            # `.tools/bin/chromium` brings these itself; a browser found on PATH does not. Root needs --no-sandbox.
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--remote-debugging-port=0", f"--user-data-dir={profile}", "--hide-scrollbars", "about:blank"),
            stderr=asyncio.subprocess.PIPE,
        )
        over.push_async_callback(_end, process)
        socket = await over.enter_async_context(connect(await _address(process), max_size=MOST_BYTES, proxy=None))
        whole = Page(socket, "")
        targets = (await whole.do("Target.getTargets"))["targetInfos"]
        blank = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = await whole.do("Target.attachToTarget", targetId=blank, flatten=True)
        page = Page(socket, attached["sessionId"])
        # The window's own size would count a frame that a headless window does not have.
        await page.do(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )
        yield page


async def _address(process: asyncio.subprocess.Process) -> str:
    """Where the browser listens, as it says on its standard error."""
    assert process.stderr  # noqa: S101 - asked for above
    said = b""
    async with asyncio.timeout(WITHIN_S):
        while line := await process.stderr.readline():
            said += line
            if found := _LISTENING.search(line):
                return found.group(1).decode()
    raise RuntimeError(f"the browser ended with {await process.wait()}:\n{said.decode(errors='replace')}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End this browser, by its process id, and nobody else's."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                await process.communicate()
        except TimeoutError:
            process.kill()
    await process.communicate()


async def take(
    url: str, file: Path, needles: Sequence[str] = (), *, click: Sequence[str] = (), size: tuple[int, int] = SIZE
) -> str:
    """Take one picture; answers with the page's text.

    Args:
        url: Address of the page.
        file: Where the PNG goes.
        needles: Texts that the page must show before.
        click: Labels of buttons to press after that.
        size: Width and height, pixels.
    """
    async with browser(size) as page:
        await page.open(url, needles)
        for label in click:
            await page.click(label)
        picture, text = await page.picture(), await page.text()
    await asyncio.to_thread(_write, file, picture)
    return text


def _write(file: Path, picture: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(picture)


def main() -> int:
    """Read the command line and take the picture."""
    parser = argparse.ArgumentParser(prog="python -m tools.screenshot", description="Take a picture of a page.")
    parser.add_argument("url")
    parser.add_argument("file", type=Path, metavar="OUT.png")
    parser.add_argument("--wait-for", action="append", default=[], metavar="TEXT", help="may be given several times")
    parser.add_argument("--click", action="append", default=[], metavar="LABEL", help="a button to press after that")
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--text", action="store_true", help="print the text of the page")
    options = parser.parse_args()
    try:
        text = asyncio.run(
            take(options.url, options.file, options.wait_for, click=options.click, size=tuple(options.size))
        )
    except (NotShown, PartMissing) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.text:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
