"""Lambda's aliases: a RevisionId that is a fence, weights that are checked, and invocations that are drawn.

No code runs: an invocation answers which version AWS would have run, which is all that a split needs to be proven.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import TYPE_CHECKING, Final

from testbed.aws.wire import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.aws.account import Account
    from testbed.aws.counts import Counts
    from testbed.aws.faults import Injector
    from testbed.aws.moto import Moto
    from testbed.aws.wire import Call, Params

LATEST: Final = "$LATEST"


def _bad(message: str) -> Refusal:
    return Refusal("InvalidParameterValueException", message, 400, Type="User")


def weights_of(alias: Params) -> dict[str, float]:
    """Version → share of the invocations of an alias."""
    extra: dict[str, float] = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return {alias["FunctionVersion"]: 1 - sum(extra.values()), **extra}


class Functions:
    """Answers the operations of lambda."""

    def __init__(
        self, moto: Moto, account: Account, counts: Counts, injector: Injector, clock: Callable[[], float]
    ) -> None:
        """Take what it needs.

        Args:
            moto: keeps functions, versions and aliases.
            account: keeps the revisions.
            counts: invocations are counted there.
            injector: for the delay of an effect.
            clock: seconds, rising.
        """
        self._moto, self._account, self._counts, self._injector, self._clock = moto, account, counts, injector, clock
        self._one_writer = asyncio.Lock()
        self._before: dict[str, tuple[float, Params]] = {}  # alias's ARN → until when the old one still counts

    async def handle(self, call: Call) -> Params:
        """Answer a call.

        Raises:
            Refusal: AWS's refusal, or moto's.
        """
        params = call.params
        match call.operation:
            case "GetAlias":
                return self._shown(await self._moto.ask("lambda", "GetAlias", params))
            case "ListAliases":
                answer = await self._moto.ask("lambda", "ListAliases", params)
                return {**answer, "Aliases": [self._shown(alias) for alias in answer["Aliases"]]}
            case "CreateAlias":
                async with self._one_writer:
                    await self._check(params["FunctionName"], params)
                    return self._renewed(await self._moto.ask("lambda", "CreateAlias", params))
            case "UpdateAlias":
                async with self._one_writer:
                    return await self._update(params)
            case "Invoke":
                return await self._invoke(params)
        return await self._moto.ask("lambda", call.operation, params)

    async def _update(self, params: Params) -> Params:
        names = {"FunctionName": params["FunctionName"], "Name": params["Name"]}
        old = self._shown(await self._moto.ask("lambda", "GetAlias", names))
        if self._injector.faults.lambda_busy:
            raise Refusal("ResourceConflictException", "An update is in progress for the function", 409, Type="User")
        if params.get("RevisionId") not in {None, old["RevisionId"]}:
            message = (
                "The Revision Id provided does not match the latest Revision Id. Call the GetAlias API to retrieve it"
            )
            raise Refusal("PreconditionFailedException", message, 412, Type="User")
        await self._check(params["FunctionName"], {**old, **params})
        new = await self._moto.ask("lambda", "UpdateAlias", {k: v for k, v in params.items() if k != "RevisionId"})
        self._before[old["AliasArn"]] = (self._clock() + self._injector.faults.effect_delay_s, old)
        return self._renewed(new)

    async def _check(self, function: str, alias: Params) -> None:
        extra = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        version = alias["FunctionVersion"]
        if len(extra) > 1:
            raise _bad("An alias routes to at most one additional version")
        if extra and LATEST in {version, *extra}:
            raise _bad("An alias with a routing configuration points to published versions, not to $LATEST")
        if version in extra:
            raise _bad(f"The additional version {version} is the version that the alias points to")
        for each in extra.values():
            if not 0.0 <= each <= 1.0:
                raise _bad(f"The weight {each} is not between 0.0 and 1.0")
        found = await self._moto.ask("lambda", "ListVersionsByFunction", {"FunctionName": function})
        known = {each["Version"] for each in found["Versions"]}
        for each in (version, *extra):
            if each not in known:
                arn = found["Versions"][0]["FunctionArn"].rpartition(":")[0]
                raise Refusal("ResourceNotFoundException", f"Function not found: {arn}:{each}", 404, Type="User")

    async def _invoke(self, params: Params) -> Params:
        name, _, qualifier = params["FunctionName"].rpartition(":function:")[2].partition(":")
        qualifier = qualifier or params.get("Qualifier") or LATEST
        version = qualifier
        if qualifier != LATEST and not qualifier.isdigit():
            alias = self._shown(await self._moto.ask("lambda", "GetAlias", {"FunctionName": name, "Name": qualifier}))
            until, old = self._before.get(alias["AliasArn"], (0.0, alias))
            weights = weights_of(old if until > self._clock() else alias)
            (version,) = random.choices(list(weights), list(weights.values()))
        else:
            await self._moto.ask("lambda", "GetFunction", {"FunctionName": name, "Qualifier": qualifier})
        if params.get("InvocationType") == "DryRun":
            return {"StatusCode": 204}
        resource = {"FunctionName": name, "Resource": f"{name}:{qualifier}"}
        for dimensions in ({"FunctionName": name}, resource, {**resource, "ExecutedVersion": version}):
            self._counts.add("AWS/Lambda", "Invocations", dimensions)
        return {"StatusCode": 200, "ExecutedVersion": version, "Payload": b"{}"}

    def _shown(self, alias: Params) -> Params:
        shown = {key: value for key, value in alias.items() if value is not None}
        shown["RevisionId"] = self._account.kept.revisions.get(alias["AliasArn"], alias["RevisionId"])
        return shown

    def _renewed(self, alias: Params) -> Params:
        self._account.kept.revisions[alias["AliasArn"]] = str(uuid.uuid4())
        self._account.save()
        return self._shown(alias)
