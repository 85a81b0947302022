"""The exception tree. A message says what happened, where, and what to do next.

    SluiceError
    ├── Temporary          worth trying again by itself, after `retry_after`
    │   ├── RouterUnreachable   the router's admin interface does not answer
    │   │   └── Throttled           it answers that it was asked too often
    │   ├── NotReady            the pool that should carry the traffic cannot yet
    │   ├── NotProven           written, but the router does not (yet) show it in force
    │   └── NotRestored         the way back is not proven yet
    ├── Permanent          trying the same again cannot help; a person or another decision is needed
    │   ├── BadInput            the workflow's input is not a rollout
    │   ├── Refused             preflight found a reason not to start; nothing was written
    │   ├── Misconfigured       a name, query or file is wrong
    │   ├── NotPermitted        the worker's credentials may not do this
    │   ├── Drifted             the route is not what we last proved
    │   ├── RouteOwned          another rollout owns the route
    │   ├── Superseded          a newer write of the same route exists (late attempt fenced off)
    │   └── RouteRejected       the router refused the configuration; the old one is back
    ├── MetricsUnavailable      the metrics server did not answer: no data, never a verdict
    └── Ended              how a run that did not promote ends; closes the workflow as Failed
        ├── RolledBack · Aborted · Rejected · Expired

Only `activities/boundary.py` and the workflow know Temporal's ApplicationError; these classes know nothing of Temporal.
"""

from datetime import timedelta


class SluiceError(Exception):
    """Everything Sluice raises on purpose.

    Attributes:
        highest: highest percent that a route had proven when moving several of them failed; None if that is not known.
    """

    highest: float | None = None


class Temporary(SluiceError):
    """Worth trying again by itself."""

    retry_after: timedelta | None = timedelta(seconds=1)
    """When to try again; None: as the caller's retry policy says."""


class RouterUnreachable(Temporary):
    """The router's admin interface does not answer."""


class Throttled(RouterUnreachable):
    """The router's API was asked too often; it will answer later."""

    retry_after = timedelta(seconds=5)


class NotReady(Temporary):
    """The pool that should carry the traffic cannot do so yet."""


class NotProven(Temporary):
    """The configuration was written, but the router does not show it in force."""


class NotRestored(Temporary):
    """Stable does not provably have all the traffic yet."""

    retry_after = None


class Permanent(SluiceError):
    """Trying the same again cannot help."""


class BadInput(Permanent):
    """The workflow's input is not a rollout."""


class Refused(Permanent):
    """Preflight found a reason not to start; nothing was written."""


class Misconfigured(Permanent):
    """A name, a query or a file is wrong."""


class NotPermitted(Permanent):
    """The worker's credentials may not do this; the message names the permission that is missing."""


class Drifted(Permanent):
    """The route is not what we last proved."""


class RouteOwned(Permanent):
    """Another rollout owns the route."""


class Superseded(Permanent):
    """A newer write of the same route exists; this one came too late."""


class RouteRejected(Permanent):
    """The router refused the configuration; the previous one is back in place, except on the way back, which stays."""


class MetricsUnavailable(SluiceError):
    """The metrics server did not answer. That is no data, never a verdict."""


class Ended(SluiceError):
    """How a run that did not promote ends."""


class RolledBack(Ended):
    """A gate, missing data, a deadline or a failure sent the traffic back."""


class Aborted(Ended):
    """A person stopped it."""


class Rejected(Ended):
    """A person who was asked said no."""


class Expired(Ended):
    """Nobody answered in time."""
