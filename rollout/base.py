"""The two kinds of model: what people write (strict) and what our own processes tell each other (tolerant).

`Written` refuses unknown fields: a misspelt field that is silently ignored is a gate that never watches. `Told`
ignores them, because a newer worker may have added some while a rollout runs; such models are only ever extended.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, StringConstraints


class Written(BaseModel):
    """A part of the spec: frozen, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Told(BaseModel):
    """A message or a state: frozen, unknown fields ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


def by_kind(*known: str, default: str | None = None) -> Discriminator:
    """How a union's members are told apart: by the field `kind`.

    Args:
        known: every kind, as a sentence lists them.
        default: what has no kind is of this one; None: that is a mistake.
    """

    def kind(written: Any) -> str | None:  # noqa: ANN401 - raw input, or a member
        found = written.get("kind", default) if isinstance(written, dict) else getattr(written, "kind", default)
        return None if found is None else str(found)

    return Discriminator(
        kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"unknown kind; known are {', '.join(known)}",
    )


def _on_the_grid(percent: float) -> float:
    if percent != round(percent, 2):
        msg = "use at most two decimals"
        raise ValueError(msg)
    return percent


Percent = Annotated[float, Field(ge=0, le=100), AfterValidator(_on_the_grid)]
"""Share of requests or users sent to the candidate: percent, 0 to 100, in steps of 0.01."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$", max_length=63)]
"""A name that a person gives: letters, digits, space, dot, dash, underscore."""


def percent_text(percent: float) -> str:
    """A percent as people read it: `5 %`, `0.25 %`."""
    return f"{percent:g} %"
