"""Turning a feature off instead of the release: one flag, off and proven off where it is evaluated.

Can be repeated at any point: a flag that is off is not written again, and nothing here ever turns one on.
"""

import asyncio
import logging
import time
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from temporalio import activity

from activities.boundary import beating
from activities.ports import Connections, FlagService, FlagState
from activities.proving import proven
from rollout import names
from rollout.errors import Misconfigured, NotPermitted, SluiceError
from rollout.messages import ApplyMitigation, FlagTurnedOff
from rollout.mitigations import Flag, Mitigation

log = logging.getLogger("sluice.mitigation")

FIRST_LOOK_SECONDS = 1.0


class MitigationActivities:
    """The hand on the switch."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @activity.defn(name=names.APPLY_MITIGATION)
    async def apply_mitigation(self, order: ApplyMitigation) -> FlagTurnedOff:
        """Turn a flag off, prove it, and wait until every application has it.

        Raises:
            NotProven: written, but still on where it is evaluated.
            SluiceError: whatever the flag service says.
        """
        writing = [*activity.info().heartbeat_details]  # not empty: an earlier attempt of ours may have turned it off
        async with beating(details=lambda: tuple(writing)):
            service = self._connections.flag(order.flag)
            found: FlagState | None = None
            with suppress(SluiceError, TimeoutError):  # it is turned off whether or not it can be looked at first
                async with asyncio.timeout(FIRST_LOOK_SECONDS):
                    found = await service.read()
            earlier = bool(writing)
            by_us = earlier
            if found is None or found.on or found.in_force != 0:
                writing = ["turning it off"]
                activity.heartbeat(*writing)
                by_us = await service.turn_off(order.why) or earlier
            off = await _proven_off(service, order.flag, order.prove_within)
            if not by_us and not _recent(off, order.recent):
                return FlagTurnedOff(by_us=False, helps=False, changed_by=off.changed_by)
            await asyncio.sleep(off.settles_after_s)
        log.warning("flag turned off flag=%s by_us=%s why=%s", order.flag, by_us, order.why)
        return FlagTurnedOff(by_us=by_us, changed_by=None if by_us else off.changed_by, proof=off.proof)


async def switched_off(service: FlagService, flag: Flag, why: str, within: timedelta) -> FlagState:
    """Turn a flag off and prove it, as the end of a way back.

    Raises:
        NotProven: written, but still on where it is evaluated.
        SluiceError: whatever the flag service says.
    """
    found = await service.read()
    if found.on or found.in_force != 0:
        await service.turn_off(why)
    return await _proven_off(service, flag, within)


class Switchable(NamedTuple):
    """What preflight found out about the flags that may be turned off: why one cannot, and what should be known."""

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


async def switchable(connections: Connections, mitigations: tuple[Mitigation, ...]) -> Switchable:
    """Whether every flag that a breach would turn off is there and may be changed; writes nothing."""
    problems, notes = [], []
    for flag in {str(each.flag): each.flag for each in mitigations}.values():
        try:
            found = await connections.flag(flag).read()
        except (Misconfigured, NotPermitted) as error:
            problems.append(f"mitigation by {flag}: {error}")
            continue
        if problem := found.locked or _too_slow(found, mitigations, flag):
            problems.append(f"mitigation by {flag}: {problem}")
        elif not found.on:
            notes.append(f"flag {flag} is off already: turning it off will not help")
        elif found.problem:
            notes.append(f"flag {flag}: {found.problem}")
    return Switchable(tuple(problems), tuple(notes))


def _too_slow(found: FlagState, mitigations: tuple[Mitigation, ...], flag: Flag) -> str | None:
    """Why a flag could never be off everywhere in the time that it gets."""
    least = min(each.prove_within for each in mitigations if each.flag == flag).total_seconds()
    if least > found.settles_after_s:
        return None
    return (
        f"applications ask for changes every {found.settles_after_s:g} s only; make prove_within longer than that, it "
        f"is {least:g} s"
    )


def _recent(found: FlagState, within: timedelta) -> bool:
    """Whether a flag was turned off so short a time ago that what it did may still be seen."""
    if found.off_since_ms is None:
        return False
    return time.time() * 1000 - found.off_since_ms <= within / timedelta(milliseconds=1)


async def _proven_off(service: FlagService, flag: Flag, within: timedelta) -> FlagState:
    """Look until nobody is given the candidate's variation any more."""

    def missing(state: FlagState) -> str | None:
        if not state.on and state.in_force == 0:
            return None
        return state.problem or ("it is on again" if state.on else f"{state.in_force} % of users still see it")

    return await proven(service.read, missing, f"{flag}: not off where it is evaluated", within)
