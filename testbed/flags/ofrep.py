"""An evaluator of a flag file that answers over OFREP: `python -m testbed.flags.ofrep --file flags.json --port 8016`.

Why: flagd itself cannot be installed here (the Go module proxy refuses every version of it), so this stands in for its
port 8016. It evaluates with `openfeature-flagd-core`, the evaluator of OpenFeature's Python providers, and its answers
have the shape of flagd's: a flag that is DISABLED is answered without a value, an unknown one with 404, one that cannot
be evaluated with 400. Two things are not flagd's: users are hashed into other buckets than by the Go evaluator (as
many, not the same), and `state: MAYBE` is refused, where flagd takes it for enabled.

Like flagd it reads the file again when it was replaced, and keeps what it had if that cannot be read, is broken or is
gone; unlike flagd it says so, on `/health`. Its faults are plain attributes, and `POST /-/fault` of the program.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRY_AFTER_S = 2


@dataclass(frozen=True)
class Fault:
    """What is wrong with the evaluator.

    Attributes:
        frozen: It has lost the file and goes on serving what it read last: a liar.
        slow_s: Seconds that every answer takes longer.
        status: HTTP status of every answer, such as 503 or 429; 0 for none.
    """

    frozen: bool = False
    slow_s: float = 0.0
    status: int = 0


class Evaluator:
    """One evaluator of one file.

    Attributes:
        fault: What is wrong with it.
        asked: Evaluations so far.
        problem: Why the file as it is now is not what it serves, None if it is.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._core = FlagdCore()
        self._read: tuple[int, int] | None = None
        self.fault = Fault()
        self.asked = 0
        self.problem: str | None = "nothing was read yet"

    def application(self) -> web.Application:
        """The HTTP application, for flagd's port 8016."""
        application = web.Application()
        application.router.add_post("/ofrep/v1/evaluate/flags/{key}", self.evaluate)
        application.router.add_get("/health", self.health)
        application.router.add_post("/-/fault", self.set_fault)
        return application

    async def evaluate(self, request: web.Request) -> web.Response:
        """One flag for one user."""
        self.asked += 1
        fault, key = self.fault, request.match_info["key"]
        if fault.slow_s:
            await asyncio.sleep(fault.slow_s)
        if fault.status:
            return web.json_response({}, status=fault.status, headers={"Retry-After": str(RETRY_AFTER_S)})
        self._look()
        try:
            context = (await request.json()).get("context", {})
            user, attributes = context.pop("targetingKey", None), context
        except (ValueError, AttributeError):
            return _refusal(key, ErrorCode.INVALID_CONTEXT, "a JSON object with an object `context` is wanted")
        return self._answer(key, EvaluationContext(user, attributes))

    async def health(self, _request: web.Request) -> web.Response:
        """Whether the file is served as it is; flagd cannot tell."""
        self._look()
        return web.json_response({"problem": self.problem}, status=200 if self.problem is None else 503)

    async def set_fault(self, request: web.Request) -> web.Response:
        """Change some fields of the fault."""
        try:
            self.fault = replace(self.fault, **(await request.json()))
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(vars(self.fault))

    def _look(self) -> None:
        """Read the file again if it was changed; what cannot be read leaves everything as it was."""
        if self.fault.frozen:
            return
        try:
            found = self._file.stat()
            now = (found.st_mtime_ns, found.st_ino)
            if now == self._read:
                return
            self._core.set_flags(self._file.read_text(encoding="utf-8"))
            self.problem = None
        except Exception as error:  # noqa: BLE001 - a file of others can be wrong in any way
            self.problem = f"{type(error).__name__}: {getattr(error, 'error_message', None) or error}"
        else:
            self._read = now

    def _answer(self, key: str, context: EvaluationContext) -> web.Response:
        try:
            # Private: no public method takes a flag whose type only its file knows.
            found = self._core._resolve(key, None, context)  # noqa: SLF001
        except OpenFeatureError as error:
            return _refusal(key, error.error_code, error.error_message or "")
        answer: dict[str, Any] = {"key": key, "reason": str(found.reason), "metadata": dict(found.flag_metadata)}
        if found.reason != Reason.DISABLED and found.variant is not None:
            answer |= {"value": found.value, "variant": found.variant}
        return web.json_response(answer)


def _refusal(key: str, code: ErrorCode, details: str) -> web.Response:
    body: Mapping[str, str] = {"key": key, "errorCode": code.value, "errorDetails": details}
    return web.json_response(body, status=404 if code == ErrorCode.FLAG_NOT_FOUND else 400)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m testbed.flags.ofrep", description="Evaluates a flag file.")
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    print(f"evaluator of {options.file} listens on {options.host}:{options.port}", flush=True)
    application = Evaluator(options.file).application()
    web.run_app(application, host=options.host, port=options.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
