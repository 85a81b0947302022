"""The REST API, version 20240415: flags, the log of changes, approval requests. Everything is checked first."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

from aiohttp import web

from testbed.flags.launchdarkly.account import Account
from testbed.flags.launchdarkly.faults import CODES, Faults
from testbed.flags.launchdarkly.patching import Refused
from testbed.flags.launchdarkly.shapes import Json

VERSION = "20240415"
SEMANTIC = "application/json; domain-model=launchdarkly.semanticpatch"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Rest:
    """Handlers of the REST API.

    Attributes:
        asked: method, path with query, headers without the token, and body of every request that was looked at.
    """

    def __init__(self, account: Account, faults: Faults) -> None:
        self._account, self._faults = account, faults
        self.asked: list[Json] = []

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        approvals = "/api/v2/projects/{project}/flags/{flag}/environments/{environment}/approval-requests"
        return [
            web.get("/api/v2/flags/{project}/{flag}", self._checked(self._get_flag)),
            web.patch("/api/v2/flags/{project}/{flag}", self._checked(self._patch_flag)),
            web.get("/api/v2/auditlog", self._checked(self._get_log)),
            web.get(approvals, self._checked(self._get_requests)),
            web.post(approvals, self._checked(self._post_request)),
        ]

    def _checked(self, handler: Callable[[web.Request, Any], Any]) -> Handler:
        """Faults, the token and the API version come before what is asked."""

        async def answered(request: web.Request) -> web.Response:
            body = await request.read()  # before any answer, or the next request of this connection starts in it
            if request.method in self._faults.methods:
                await asyncio.sleep(self._faults.slow_s)
            if self._faults.garbled:
                return web.Response(text="<html>please log in</html>", content_type="text/html")
            if status := self._faults.due(request.method):
                return self._failed(status)
            try:
                answer = handler(request, self._looked_at(request, body))
            except Refused as error:
                return _error(error.status, error.code, error.message)
            if request.method in self._faults.methods:
                await asyncio.sleep(self._faults.slow_after_s)
            return web.json_response(answer, status=201 if request.method == "POST" else 200)

        return answered

    def _looked_at(self, request: web.Request, body: bytes) -> Json | None:
        kept = {name: request.headers[name] for name in ("Content-Type", "LD-API-Version") if name in request.headers}
        decoded = None
        self._account.caller(request.headers.get("Authorization"))
        if body:
            try:
                decoded = json.loads(body)
            except ValueError:
                raise Refused(400, "invalid_request", "Invalid JSON") from None
        self.asked.append({"method": request.method, "path": request.path_qs, "headers": kept, "body": decoded})
        if request.headers.get("LD-API-Version") != VERSION:
            raise Refused(400, "invalid_request", f"LD-API-Version must be {VERSION}")
        return decoded

    def _get_flag(self, request: web.Request, _: None) -> Json:
        shown = deepcopy(self._account.flag(request.match_info["project"], request.match_info["flag"]))
        if wanted := request.query.getall("env", []):
            found = shown["environments"]
            shown["environments"] = {each: config for each, config in found.items() if each in wanted}
        return shown

    def _patch_flag(self, request: web.Request, body: object) -> Json:
        if "".join(request.headers.get("Content-Type", "").split()) != "".join(SEMANTIC.split()) or not isinstance(
            body, dict
        ):
            raise Refused(400, "invalid_request", "A JSON patch is a list of operations")
        if self._faults.before_patch:
            self._faults.before_patch()
        return self._account.patch(
            request.headers["Authorization"],
            request.match_info["project"],
            request.match_info["flag"],
            body,
            ignore_conflicts=_flagged(request, "ignoreConflicts"),
            dry_run=_flagged(request, "dryRun"),
        )

    def _get_log(self, request: web.Request, _: None) -> Json:
        if not self._account.caller(request.headers["Authorization"]).sees_log:
            raise Refused(403, "forbidden", "Access to the requested resource was denied")
        limit = int(request.query.get("limit", "10"))
        if not 1 <= limit <= 20:
            raise Refused(400, "invalid_request", "limit must be between 1 and 20")
        wanted = request.query.get("spec")
        found = [each for each in self._account.log if wanted in {None, each["accesses"][0]["resource"]}]
        return {"items": found[:limit], "_links": {"self": {"href": request.path_qs, "type": "application/json"}}}

    def _place(self, request: web.Request) -> tuple[str, str, str]:
        place = request.match_info
        found = self._account.flag(place["project"], place["flag"])
        if place["environment"] not in found["environments"]:
            raise Refused(404, "not_found", "Unknown environment key")
        return place["project"], place["flag"], place["environment"]

    def _get_requests(self, request: web.Request, _: None) -> Json:
        items = self._account.requests.get(self._place(request), [])
        return {"items": items, "_links": {"self": {"href": request.path_qs, "type": "application/json"}}}

    def _post_request(self, request: web.Request, body: object) -> Json:
        if not isinstance(body, dict) or not {"description", "instructions"} <= body.keys():
            raise Refused(400, "invalid_request", "description and instructions are required")
        return self._account.ask(request.headers["Authorization"], *self._place(request), body)

    def _failed(self, status: int) -> web.Response:
        code, message = CODES.get(status, ("internal_service_error", "Internal server error"))
        response = _error(status, code, self._faults.says or message)
        if status == 429:
            response.headers.update(self._faults.headers())
        return response


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)


def _flagged(request: web.Request, name: str) -> bool:
    value = request.query.get(name, "false")
    if value not in {"true", "false"}:
        raise Refused(400, "invalid_request", f"{name} must be true or false")
    return value == "true"
