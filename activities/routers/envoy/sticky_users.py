"""Sticky users in an Envoy route: what the file needs so that a user stays on the version first given.

Envoy's own way, a cookie policy with a `ttl`, does not do it: weighted clusters are chosen before Envoy makes the
cookie. Measured on 1.40: clusters without a hashing balancer hand out no cookie at all, and with RING_HASH half of the
users change versions at their second visit. So a rule of our own receives visits without a cookie: it places them by
the hash of their request id and gives that very id as the cookie, which hashes alike at every later visit.

The hash is taken modulo the weights' sum, which never changes, and the pools never change places: a higher percent
keeps everyone it had. What is added is marked in the route's metadata, so that only that is taken away again. A filter
could do the same without a rule, but the listener is the operator's.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

from rollout.routes import Sticky

Json = dict[str, Any]

FIRST_VISIT = re.compile(r"sluice-first-visit(-\d+)?")
_OLDEST = (1, 36)  # the first Envoy that knows use_hash_policy
_VERSION = re.compile(r"(?:^|/)(\d+)\.(\d+)\.\d+")
# Tracing rewrites the 15th character of a request id between routing and answering: only what is in front of it counts.
_ID_LENGTH = 13
_INSTEAD = "drop that, or let `sticky` name a header that tells users apart"


def unstick(entry: Json) -> None:
    """Take off a route what `stick` added to it; what the operator has changed since then is the operator's."""
    marks = (entry.get("metadata") or {}).get("filter_metadata") or {}
    if not (added := marks.pop("sluice", None)):
        return
    action = entry.get("route") or {}
    if "hash_policy" in added and action.get("hash_policy") == added["hash_policy"]:
        del action["hash_policy"]
    if "use_hash_policy" in added:
        action.get("weighted_clusters", {}).pop("use_hash_policy", None)
    if not marks:
        del entry["metadata"]["filter_metadata"]
    if not entry["metadata"]:
        del entry["metadata"]


def stick(entry: Json, sticky: Sticky, suffix: str) -> Iterator[Json]:
    """Let a route with weights choose by user; an operator's own hash policy is used as it is.

    Args:
        entry: a route without anything that `stick` adds; changed.
        sticky: what tells users apart.
        suffix: of the rule's name, where there are several.

    Yields:
        The rule that must stand in front of the route: the first visit, which gets the cookie.

    Raises:
        ValueError: the operator takes the draw from a header already, which Envoy allows only instead.
    """
    action = entry["route"]
    shares = action["weighted_clusters"]
    if "header_name" in shares:
        raise ValueError(f"its weighted_clusters draw by header {shares['header_name']} already")
    added: Json = {}
    if not shares.get("use_hash_policy"):
        shares["use_hash_policy"] = added["use_hash_policy"] = True
    if not action.get("hash_policy"):
        if cookie := sticky.cookie_name:
            yield _first_visit(entry, cookie, int(sticky.ttl.total_seconds()), suffix)
        added["hash_policy"] = _policy(sticky)
        action["hash_policy"] = _policy(sticky)
    if added:
        entry.setdefault("metadata", {}).setdefault("filter_metadata", {})["sluice"] = added


def shown(entry: Json) -> Json:
    """How a route chooses by user, spelt as Envoy's dump spells it; empty if it does not."""
    action = entry.get("route", {})
    if not action.get("weighted_clusters", {}).get("use_hash_policy"):
        return {}
    seen: Json = {"hash_policy": spelt(action.get("hash_policy", []))}
    if FIRST_VISIT.fullmatch(entry.get("name", "")):
        seen["when"] = entry["match"].get("headers", [])[-1:]
        seen["gives"] = entry.get("response_headers_to_add", [])[-1:]
    return seen


def spelt(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON as a dump spells it: without members that are false, zero or empty, and large integers are texts."""
    if isinstance(value, dict):
        return {name: kept for name, each in value.items() if (kept := spelt(each))}
    if isinstance(value, list):
        return [spelt(each) for each in value]
    return str(value) if type(value) is int and value else value


def too_old(version: str) -> str | None:
    """Why an Envoy of this version, as `/server_info` has it, cannot keep users; None if it can."""
    found = _VERSION.search(version)
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        return f"Envoy {found[1]}.{found[2]} cannot choose by user, 1.36 is the first that can: leave `sticky` out"
    return None


def without_ids(listeners: Any, document: Json, service: str) -> str | None:  # noqa: ANN401 - an Envoy's dump
    """Why requests have no id to make a cookie of; None if they have.

    Args:
        listeners: the dump of all listeners.
        document: the route file.
        service: name of the route configuration.
    """
    if any("x-request-id" in map(str.lower, each.get("request_headers_to_remove", [])) for each in _dicts(document)):
        return f"{service}.json removes x-request-id, of which cookies are made: {_INSTEAD}"
    off = any(
        manager.get("generate_request_id") is False
        for manager in _dicts(listeners)
        if isinstance(rds := manager.get("rds"), dict) and rds.get("route_config_name") == service
    )
    if not off:
        return None
    return f"Envoy's listener has `generate_request_id: false`, and cookies are made of request ids: {_INSTEAD}"


def _policy(sticky: Sticky) -> list[Json]:
    if cookie := sticky.cookie_name:
        return [{"cookie": {"name": cookie}}]
    return [{"header": {"header_name": (sticky.header or "").lower()}}]


def _first_visit(entry: Json, cookie: str, ttl_s: int, suffix: str) -> Json:
    rule = {**copy.deepcopy(entry), "name": f"sluice-first-visit{suffix}"}
    carried = {"safe_regex": {"regex": rf"(.*;\s*)?{cookie}=[^;]+.*"}}
    without = {"name": "cookie", "string_match": carried, "invert_match": True, "treat_missing_header_as_empty": True}
    rule["match"]["headers"] = [*rule["match"].get("headers", []), without]
    short = {"pattern": {"regex": f"^(.{{{_ID_LENGTH}}}).*$"}, "substitution": r"\1"}
    rule["route"]["hash_policy"] = [{"header": {"header_name": "x-request-id", "regex_rewrite": short}}]
    value = f"{cookie}=%REQ(X-REQUEST-ID):{_ID_LENGTH}%; Path=/; Max-Age={ttl_s}; HttpOnly; SameSite=Lax"
    given = {"header": {"key": "set-cookie", "value": value}}
    rule["response_headers_to_add"] = [*rule.get("response_headers_to_add", []), given]
    return rule


def _dicts(value: Any) -> Iterator[Json]:  # noqa: ANN401 - any JSON
    """Every object in some JSON, from the outside to the inside."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dicts(each)
