"""The shop's feature flag, evaluated as applications do: by OpenFeature's SDK, in process, from a flag file.

Why the SDK and not the evaluator below it: what a mitigation must reach is what an application asks for, with the SDK's
provider, its looking at the file now and then, and its default when nothing else is known. The default in the code is
"no feature", as it should be.
"""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.no_op_provider import NoOpProvider
from prometheus_client import CollectorRegistry, Counter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOK_EVERY_MS: Final = 100
UNKNOWN: Final = "default"
"""What the variation is called when the default in the code was used."""


class Given(NamedTuple):
    """What one visitor is given.

    Attributes:
        variation: Its name, `default` when nothing but the default in the code is known.
        feature: Whether the visitor sees the feature.
    """

    variation: str
    feature: bool


class Feature:
    """One boolean flag of one shop.

    Attributes:
        flag: Its key.
    """

    def __init__(self, file: Path, flag: str, domain: str, seed: int) -> None:
        """Take the flag, and what sets this shop's provider apart from that of others in the same process.

        Raises:
            ValueError: When the file has no such flag.
        """
        flags = json.loads(file.read_text(encoding="utf-8")).get("flags", {})
        if flag not in flags:
            raise ValueError(f"{file} has no flag {flag!r}; it has {', '.join(flags) or 'none'}")
        self.flag = flag
        self._variations = (*flags[flag]["variants"], UNKNOWN)
        self._file, self._domain = file, domain
        # Not the shop's: its luck must be the same with and without a flag.
        self._draw = random.Random(f"feature-{seed}").random
        self._client = api.get_client(domain)
        self._counted: Mapping[tuple[str, str], Counter] = {}

    def start(self) -> None:
        """Read the file, and look for changes from now on.

        Raises:
            ProviderNotReadyError: When it cannot be read.
        """
        provider = FlagdProvider(
            resolver_type=ResolverType.FILE, offline_flag_source_path=str(self._file), deadline_ms=LOOK_EVERY_MS
        )
        api.set_provider_and_wait(provider, self._domain)

    def stop(self) -> None:
        """Look no more."""
        api.set_provider(NoOpProvider(), self._domain)

    def count_in(self, registry: CollectorRegistry, service: str, version: str, statuses: Sequence[str]) -> None:
        """Count visits by variation; every series exists from the start with value 0."""
        names = ("service", "version", "flag", "variation", "status")
        counter = Counter("feature_requests_total", "Requests by what the flag gave.", names, registry=registry)
        self._counted = {
            (variation, status): counter.labels(service, version, self.flag, variation, status)
            for variation, status in product(self._variations, statuses)
        }

    def given(self, user: str | None) -> Given:
        """What a visitor is given; one without a name is somebody new at every visit."""
        key = user or f"anonymous-{self._draw():.12f}"
        found = self._client.get_boolean_details(self.flag, False, EvaluationContext(key))  # noqa: FBT003 - the SDK's
        return Given(found.variant or UNKNOWN, found.value)

    def fails(self, given: Given, share: float) -> bool:
        """Whether the feature's own code fails at this visit.

        Args:
            given: What the visitor was given.
            share: Of the visits with the feature, 0–1.
        """
        return self._draw() < share and given.feature  # drawn in any case: one user's luck is not another's

    def counted(self, given: Given, status: int) -> None:
        """Count a visit; a variation that came to the flag later counts as the default."""
        name = given.variation if (given.variation, str(status)) in self._counted else UNKNOWN
        self._counted[name, str(status)].inc()
