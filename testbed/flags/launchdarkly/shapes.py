"""What a flag looks like: to the REST API, where one flag has all environments, and to an SDK, which knows one."""

import uuid
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

_CREATED_MS = 1_700_000_000_000


def flag(
    project: str,
    key: str,
    environments: Sequence[str],
    *,
    values: Sequence[Any] = (True, False),
    names: Sequence[str | None] = (),
    on: bool = True,
) -> Json:
    """A new flag, as the REST API shows it: it gives everybody its last variation, on or off.

    Args:
        project: the project's key.
        key: the flag's key.
        environments: keys of the project's environments.
        values: of the variations; a boolean flag by default.
        names: of the variations; None or missing for those that have none.
        on: whether it is switched on everywhere.
    """
    spelt = [*names, *([None] * (len(values) - len(names)))]
    variations = [
        {"_id": variation_id(project, key, index), "value": value, **({"name": name} if name else {})}
        for index, (value, name) in enumerate(zip(values, spelt, strict=True))
    ]
    last = len(variations) - 1
    return {
        "name": key.replace("-", " ").capitalize(),
        "kind": "boolean" if list(values) == [True, False] else "multivariate",
        "description": "",
        "key": key,
        "_version": 1,
        "creationDate": _CREATED_MS,
        "includeInSnippet": False,
        "clientSideAvailability": {"usingMobileKey": False, "usingEnvironmentId": False},
        "variations": variations,
        "temporary": True,
        "tags": ["checkout"],
        "_links": {"self": {"href": f"/api/v2/flags/{project}/{key}", "type": "application/json"}},
        "experiments": {"baselineIdx": 0, "items": []},
        "customProperties": {},
        "archived": False,
        "deprecated": False,
        "defaults": {"onVariation": 0, "offVariation": last},
        "environments": {each: _configuration(project, key, each, last, on=on) for each in environments},
    }


def variation_id(project: str, key: str, index: int) -> str:
    """The ID of a variation; the same in every run, so that golden requests can name it."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{project}/{key}/{index}"))


def sdk_flag(whole: Json, environment: str) -> Json:
    """The same flag as an SDK of one environment gets it."""
    config = whole["environments"][environment]
    return {
        "key": whole["key"],
        "version": config["version"],
        "on": config["on"],
        "salt": config["salt"],
        "sel": config["sel"],
        "variations": [each["value"] for each in whole["variations"]],
        "offVariation": config.get("offVariation"),
        "fallthrough": _sdk_choice(config["fallthrough"]),
        "targets": config["targets"],
        "contextTargets": config["contextTargets"],
        "rules": [_sdk_rule(each) for each in config["rules"]],
        "prerequisites": config["prerequisites"],
        "trackEvents": config["trackEvents"],
        "trackEventsFallthrough": config["trackEventsFallthrough"],
        "debugEventsUntilDate": None,
        "clientSide": False,
        "deleted": False,
    }


def _configuration(project: str, key: str, environment: str, last: int, *, on: bool) -> Json:
    return {
        "on": on,
        "archived": False,
        "salt": uuid.uuid5(uuid.NAMESPACE_URL, f"{project}/{environment}/{key}").hex,
        "sel": uuid.uuid5(uuid.NAMESPACE_URL, f"sel/{project}/{environment}/{key}").hex,
        "lastModified": _CREATED_MS,
        "version": 1,
        "targets": [],
        "contextTargets": [],
        "rules": [],
        "fallthrough": {"variation": last},
        "offVariation": last,
        "prerequisites": [],
        "_site": {"href": f"/{project}/{environment}/features/{key}", "type": "text/html"},
        "_environmentName": environment.capitalize(),
        "trackEvents": False,
        "trackEventsFallthrough": False,
    }


def _sdk_choice(choice: Json) -> Json:
    if "rollout" not in choice:
        return {"variation": choice["variation"]}
    rollout = choice["rollout"]
    shown = {name: rollout[name] for name in ("contextKind", "bucketBy", "seed") if name in rollout}
    weights = [{"variation": each["variation"], "weight": each["weight"]} for each in rollout["variations"]]
    if "experimentAllocation" in rollout:
        shown["kind"] = "experiment"
    return {"rollout": {**shown, "variations": weights}}


def _sdk_rule(rule: Json) -> Json:
    return {
        "id": rule["_id"],
        "clauses": [{name: value for name, value in each.items() if name != "_id"} for each in rule["clauses"]],
        "trackEvents": rule["trackEvents"],
        **_sdk_choice(rule),
    }
