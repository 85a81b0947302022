"""What every gate has, whatever it asks."""

from abc import abstractmethod
from typing import Literal

from pydantic import Field

from rollout.base import Name, Written

OnBreach = Literal["rollback", "hold"]


class AnyGate(Written):
    """The fields that all gates share."""

    on_breach: OnBreach = Field(default="rollback", description="what a breach does")
    standing: bool = Field(default=False, description="watched in every stage, also where a stage does not name it")
    connection: Name = Field(default="prometheus", description="name of the metrics server in the worker's settings")

    @property
    @abstractmethod
    def limit(self) -> str:
        """What is bad, as a sentence's end: `above 0.05 for 2m`."""
        ...

    @property
    def needs_traffic(self) -> bool:
        """Whether it looks at what visitors did, so that it can say nothing while the candidate has none."""
        return True

    @property
    def compares(self) -> bool:
        """Whether it needs stable beside the candidate, so that it can say nothing at 100 %."""
        return False
