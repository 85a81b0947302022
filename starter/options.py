"""Arguments and options that several commands share, so that they are called and explained the same everywhere."""

import getpass
from typing import Annotated

import typer

SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="The spec, YAML or JSON (a name ending in .json); - is standard input.")
]
RolloutArgument = Annotated[
    str,
    typer.Argument(
        metavar="ROLLOUT",
        help="A service, environment/service, or the workflow ID. A service alone means the one that is being rolled "
        "out, else its newest rollout.",
    ),
]
EnvironmentOption = Annotated[
    str | None, typer.Option("--environment", "-e", help="Environment, where the service alone is not enough.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines: JSON on standard output.")]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Who says so; the user of this machine by default. A claim, not a proof.")
]
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Do not wait for people: end with 13 as soon as it is held or stuck.")
]


def user() -> str | None:
    """Who uses this machine; None where nobody can tell, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError up to Python 3.12
        return None
