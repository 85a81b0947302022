"""Feature flags, as the user writes them: places where the share of users who see a feature is set.

A flag is named in two places: as a route, where its percent rises with the stages, and in `mitigations`, where it is
only ever switched off. It has two variations that matter here, the candidate's and stable's; which users see which is
decided by a hash of their key, so users stay on what they were given.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from rollout.routes.base import TwoNamed

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""A key, as flag services allow them: it goes into URLs and file contents."""

Variation = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:-]*$", max_length=100)]
"""A variation: its name, or its value where it has none."""


class FlagRoute(TwoNamed):
    """A flag of any service.

    Attributes:
        key: the flag.
        candidate: variation of those who see the new feature.
        stable: variation of everybody else.
    """

    key: Key
    candidate: Variation = Field(default="on", description="variation of those who see the feature")
    stable: Variation = Field(default="off", description="variation of everybody else")

    @property
    def sticky_users(self) -> bool:
        """A user's key decides: the same user sees the same variation as long as the percent only rises."""
        return True

    @property
    def place(self) -> str:
        """The flag."""
        return self.key


class LaunchDarklyRoute(FlagRoute):
    """The fallthrough of a LaunchDarkly flag in one environment; its rules and targets are left alone."""

    connects_to: ClassVar[str] = "launchdarkly"

    kind: Literal["launchdarkly"] = "launchdarkly"
    project: Key
    environment: Key
    candidate: Variation = Field(default="true", description="variation by its name, value or id")
    stable: Variation = Field(default="false", description="variation by its name, value or id")
    context_kind: Key = Field(default="user", description="kind of context whose key decides who sees it")

    @property
    def place(self) -> str:
        """`web/production/new-checkout`."""
        return f"{self.project}/{self.environment}/{self.key}"


class UnleashRoute(FlagRoute):
    """The gradual rollout of an Unleash flag in one environment."""

    connects_to: ClassVar[str] = "unleash"

    kind: Literal["unleash"] = "unleash"
    project: Key = "default"
    environment: Key
    stickiness: Key | None = Field(
        default=None, description="field of the context that decides who sees it; default: as it is there"
    )

    @property
    def place(self) -> str:
        """`default/production/new-checkout`."""
        return f"{self.project}/{self.environment}/{self.key}"


class FlagdRoute(FlagRoute):
    """A flag in a file of flagd's format, which flagd or the application itself evaluates.

    The connection names the folder; the file is `<file>.json` there.
    """

    connects_to: ClassVar[str] = "flagd"

    kind: Literal["flagd"] = "flagd"
    file: Key = Field(default="flags", description="the file, without `.json`")
    bucket_by: Key | None = Field(
        default=None, description="field of the context that decides who sees it; default: flag and targeting key"
    )

    @property
    def place(self) -> str:
        """`flags/new-checkout`."""
        return f"{self.file}/{self.key}"
