"""Why a flag could not be changed, before anybody tries: no permission, or changes that must be approved.

Change requests are Unleash Enterprise's; where there are none, nobody knows the question, and that is an answer. Asked
at most once a minute: it is for preflight, and a state is read twenty times a second.
"""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from activities.flags.unleash.api import UnleashApi
from rollout.errors import SluiceError
from rollout.routes.flags import UnleashRoute

_SHARE, _SWITCH = "UPDATE_FEATURE_STRATEGY", "UPDATE_FEATURE_ENVIRONMENT"
_NEEDED = (_SHARE, _SWITCH)
_BELIEVED_S = 60.0


class Lacks(NamedTuple):
    """Why a flag cannot be changed, as sentences.

    Attributes:
        off: it could not be switched off, nor anything else; None if it could.
        share: only its share could not be changed; None if it could, or if that is not all.
    """

    off: str | None = None
    share: str | None = None


def lacking(permissions: Iterable[Any], requests: Iterable[Any], route: UnleashRoute) -> Lacks:
    """Why the flag cannot be changed.

    Args:
        permissions: what the token may, as `/api/admin/user` says.
        requests: where changes must be approved, as Enterprise says.
        route: the flag.
    """
    may = {each["permission"] for each in permissions if isinstance(each, dict) and _covers(each, route)}
    if "ADMIN" in may:
        return Lacks()
    missing = [each for each in _NEEDED if each not in may]
    words = f"the token lacks the permission {' and '.join(missing)} in {route.project}/{route.environment}"
    if _SWITCH in missing:
        return Lacks(off=words)
    asked = [each for each in requests if isinstance(each, dict) and each.get("environment") == route.environment]
    if any(each.get("changeRequestEnabled") for each in asked) and "SKIP_CHANGE_REQUEST" not in may:
        return Lacks(
            off=f"changes in {route.project}/{route.environment} must be approved by a change request: give the token "
            "the permission to skip them, or change the flag by hand"
        )
    return Lacks(share=words if missing else None)


def _covers(permission: dict[str, Any], route: UnleashRoute) -> bool:
    """Whether a permission is for the flag's project and environment; one without either is for all."""
    wanted = {"project": {route.project, "*"}, "environment": {route.environment, "*"}}
    return "permission" in permission and all(
        permission.get(field) in {None, "", *values} for field, values in wanted.items()
    )


class Permissions:
    """What the token of a connection may; one for a connection."""

    def __init__(self, api: UnleashApi) -> None:
        """Take what asks."""
        self._api = api
        self._known: dict[str, tuple[float, Lacks]] = {}

    async def aclose(self) -> None:
        """Nothing is open."""

    async def lacking(self, route: UnleashRoute) -> Lacks:
        """Why the flag cannot be changed, as it was within the last minute; nothing if nobody can tell."""
        place = f"{route.project}/{route.environment}"
        now = time.monotonic()
        if place not in self._known or self._known[place][0] + _BELIEVED_S < now:
            self._known[place] = (now, await self._ask(route))
        return self._known[place][1]

    async def _ask(self, route: UnleashRoute) -> Lacks:
        try:
            who = await self._api.admin("GET", "/user")
        except SluiceError:
            return Lacks()
        if not isinstance(who, dict) or not isinstance(who.get("permissions"), list):
            return Lacks()
        try:
            requests = await self._api.admin("GET", f"/projects/{route.project}/change-requests/config")
        except SluiceError:
            requests = []
        return lacking(who["permissions"], requests if isinstance(requests, list) else [], route)
