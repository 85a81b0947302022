"""An account: projects' flags, who may do what, what waits for approval, and the log of all changes. No HTTP here."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from testbed.flags.launchdarkly.callers import Caller
from testbed.flags.launchdarkly.patching import OF_ENVIRONMENT, Refused, patched
from testbed.flags.launchdarkly.shapes import Json


class Account:
    """Everything that LaunchDarkly keeps.

    Attributes:
        tokens: access token → its owner.
        sdk_keys: SDK key → project and environment.
        flags: project and key → flag, as the REST API shows it.
        approvals: projects and environments where every change needs an approval.
        pending: project, flag and environment → kinds of instructions that a scheduled change waits with.
        requests: project, flag and environment → approval requests.
        log: changes, newest first.
        listeners: called with project and flag after every change.
        patches: accepted patches that changed something.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, Caller] = {}
        self.sdk_keys: dict[str, tuple[str, str]] = {}
        self.flags: dict[tuple[str, str], Json] = {}
        self.approvals: set[tuple[str, str]] = set()
        self.pending: dict[tuple[str, str, str], frozenset[str]] = {}
        self.requests: dict[tuple[str, str, str], list[Json]] = {}
        self.log: list[Json] = []
        self.listeners: list[Callable[[str, str], None]] = []
        self.patches = 0

    def caller(self, token: str | None) -> Caller:
        """Whose token it is.

        Raises:
            Refused: nobody's.
        """
        if token not in self.tokens:
            raise Refused(401, "unauthorized", "Invalid access token")
        return self.tokens[token]

    def flag(self, project: str, key: str) -> Json:
        """A flag.

        Raises:
            Refused: there is none.
        """
        if (project, key) not in self.flags:
            raise Refused(404, "not_found", f"Unable to find feature flag '{key}' in project '{project}'")
        return self.flags[project, key]

    def patch(
        self, token: str, project: str, key: str, body: Json, *, ignore_conflicts: bool = False, dry_run: bool = False
    ) -> Json:
        """Carry out a semantic patch; what is answered is the flag afterwards.

        Raises:
            Refused: it is not carried out, and nothing is changed.
        """
        caller, before = self.caller(token), self.flag(project, key)
        environment, instructions = body.get("environmentKey"), body.get("instructions")
        if not isinstance(instructions, list) or not instructions:
            raise Refused(400, "invalid_request", "instructions are required")
        if environment is not None and environment not in before["environments"]:
            raise Refused(400, "invalid_request", f"Unknown environment key '{environment}'")
        if not caller.writes:
            raise Refused(403, "forbidden", "Access to the requested resource was denied")
        kinds = {each.get("kind") for each in instructions if isinstance(each, dict)}
        if kinds & OF_ENVIRONMENT.keys() and (project, environment) in self.approvals:
            raise Refused(405, "method_not_allowed", "Approval is required to update this flag in this environment")
        if not ignore_conflicts and kinds & self.pending.get((project, key, str(environment)), frozenset()):
            raise Refused(400, "invalid_request", "This change would cause a pending scheduled change to fail")
        after = patched(before, environment, instructions)
        if not dry_run and after != before:
            self._store(project, before, after, environment)
            self._note(token, project, after, environment, body)
        return after

    def release(self, project: str, key: str, environment: str, kind: str, weights: Sequence[int]) -> None:
        """Start a release of LaunchDarkly's own on the fallthrough (`measuredRollout`, `progressiveRollout`)."""
        before = self.flag(project, key)
        after = deepcopy(before)
        shares = [{"variation": index, "weight": weight} for index, weight in enumerate(weights)]
        allocation = {"defaultVariation": len(weights) - 1, "canReshuffle": True, "type": kind}
        rollout = {"variations": shares, "contextKind": "user", "seed": 7, "experimentAllocation": allocation}
        after["environments"][environment]["fallthrough"] = {"rollout": rollout}
        self._store(project, before, after, environment)

    def end_release(self, project: str, key: str, environment: str) -> None:
        """End it: everybody has the variation that stayed."""
        before = self.flag(project, key)
        after = deepcopy(before)
        rollout = after["environments"][environment]["fallthrough"]["rollout"]
        stays = rollout["experimentAllocation"]["defaultVariation"]
        after["environments"][environment]["fallthrough"] = {"variation": stays}
        self._store(project, before, after, environment)

    def ask(self, token: str, project: str, key: str, environment: str, body: Json) -> Json:
        """Ask for an approval; nothing else is done about it here."""
        self.caller(token)
        patched(self.flag(project, key), environment, body.get("instructions", ()))
        place = f"/api/v2/projects/{project}/flags/{key}/environments/{environment}/approval-requests"
        request: dict[str, Any] = {
            "_id": f"request-{len(self.requests) + 1}",
            "_version": 1,
            "creationDate": _now_ms(),
            "serviceKind": "launchdarkly",
            "description": body["description"],
            "reviewStatus": "pending",
            "allReviews": [],
            "notifyMemberIds": [],
            "status": "pending",
            "instructions": body["instructions"],
            "conflicts": [],
            "_links": {"parent": {"href": place, "type": "application/json"}},
        }
        self.requests.setdefault((project, key, environment), []).append(request)
        return request

    def _store(self, project: str, before: Json, after: Json, environment: str | None) -> None:
        """Put a changed flag in place with its new versions, and tell those who listen."""
        after["_version"] = before["_version"] + 1
        config = after["environments"].get(environment)
        if config is not None and config != before["environments"][environment]:
            config["version"] += 1
            config["lastModified"] = _now_ms()
        self.flags[project, after["key"]] = after
        self.patches += 1
        for listener in self.listeners:
            listener(project, after["key"])

    def _note(self, token: str, project: str, flag: Json, environment: str | None, body: Json) -> None:
        place = f"proj/{project}:env/{environment or '*'}:flag/{flag['key']}"
        entry = {
            "_links": {"self": {"href": f"/api/v2/auditlog/{len(self.log) + 1}", "type": "application/json"}},
            "_id": f"entry-{len(self.log) + 1}",
            "_accountId": "account-1",
            "date": _now_ms(),
            "accesses": [{"action": each["kind"], "resource": place} for each in body["instructions"]],
            "kind": "flag",
            "name": flag["name"],
            "description": "",
            "shortDescription": "",
            "titleVerb": "updated the flag",
            **({"comment": body["comment"]} if body.get("comment") else {}),
            **self.tokens[token].shown(token),
        }
        self.log.insert(0, entry)


def _now_ms() -> int:
    return round(time.time() * 1000)
