"""A feature flag in memory: a router of users with a switch, and faults that are plain attributes."""

import time
from dataclasses import dataclass, field

from activities.ports import FlagState, Write
from rollout.errors import Drifted, NotPermitted
from tests.fakes.router import FakeRouter


@dataclass
class FakeFlag(FakeRouter):
    """One flag.

    Attributes:
        on: whether it is switched on.
        share: percent of users who are given the candidate's variation while it is on.
        locked: why it cannot be changed; every change is refused then.
        changed_by: who switched it off last, or changed it last while it is on.
        off_since_ms: when it was switched off, Unix milliseconds.
        lies: still on where it is evaluated, whatever is written.
        settles_after_s: seconds that applications need beyond the proof.
        turned_off: why it was turned off, each time that it was asked for.
        found_off: whether the rollout that holds it found it off.
    """

    on: bool = True
    share: float = 100
    locked: str | None = None
    changed_by: str | None = None
    off_since_ms: int | None = None
    lies: bool = False
    settles_after_s: float = 0
    turned_off: list[str] = field(default_factory=list)
    found_off: bool = False

    def __post_init__(self) -> None:
        self.percent = self.share if self.on else 0

    async def read(self) -> FlagState:
        """See `ports.FlagService.read`."""
        state = await super().read()
        given = self.share if self.lies else state.in_force
        told = {"in_force": None if given != self.percent else given, "settles_after_s": self.settles_after_s}
        if self.lies and not self.on:
            told["problem"] = f"{self.name} is still on where it is evaluated"  # type: ignore[assignment]  # mixed values
        return FlagState(
            **(state.model_dump() | told),
            on=self.on,
            locked=self.locked,
            changed_by=self.changed_by,
            off_since_ms=None if self.on else self.off_since_ms,
        )

    async def write(self, write: Write) -> None:
        """See `ports.FlagService.write`; a share above 0 switches on what was found off."""
        if self.locked:
            raise NotPermitted(self.locked)
        await super().write(write)

    async def turn_off(self, why: str) -> bool:
        """See `ports.FlagService.turn_off`."""
        self._answer()
        if self.locked:
            raise NotPermitted(self.locked)
        self.turned_off.append(why)
        if not self.on:
            return False
        self.on, self.changed_by, self.off_since_ms = False, "sluice", time.time_ns() // 1_000_000
        self._put(0)
        return True

    def _refuse(self, write: Write) -> None:
        super()._refuse(write)
        if self.owner is None:
            self.found_off = not self.on
        elif not self.on and self.share:
            self.found_off = False  # somebody switched it off since
        if write.percent and not write.release and not self.on:
            if not self.found_off:
                raise Drifted(f"{self.name} was switched off since its last write; it stays off")
            self.on = True
        if not write.percent and self.found_off:
            self.on = False
        self.share, self.found_off = write.percent, self.found_off and not write.release

    def _put(self, percent: float) -> None:
        super()._put(percent if self.on else 0)
