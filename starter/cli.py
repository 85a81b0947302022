"""`sluice`: the command line. Everything it does, the plain Temporal CLI can do too; this only makes it nicer.

One file a group of commands; this one joins them and turns every end into an exit code and a sentence. Nobody who types
a command gets a traceback: a bug of ours says its name and place in one line.
"""

import os
import sys
import traceback
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from starter import backtest, looking, setting_up, specs, starting, telling
from starter.exits import Exit, Sorry
from starter.options import JsonOption
from starter.printing import say, to_person

_ABOUT = """Progressive delivery as durable Temporal workflows.

The server is found as by the Temporal CLI: its profile file and TEMPORAL_* variables. Exit codes: 0 promoted or done, 1
refused or failed, 2 usage, 10 rolled back, 11 aborted, 12 rejected or expired, 13 held or stuck when asked not to wait.
"""
INTERRUPTED = 130


def application() -> typer.Typer:
    """The commands; help with colours and frames for a person only."""
    app = typer.Typer(
        name="sluice",
        help=_ABOUT,
        add_completion=True,
        rich_markup_mode="rich" if to_person() else None,
        pretty_exceptions_enable=False,
    )
    for group in (specs, backtest, starting, looking, telling, setting_up):
        group.add(app)
    app.command()(demo)
    return app


def demo(
    *,
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario",
            help="good, bad, slow, abort, flag, blue-green, flip-back; rolling, rolling-bad, never-ready; all.",
        ),
    ] = "all",
    route: Annotated[
        str,
        typer.Option(
            "--route",
            help=(
                "In front: envoy, haproxy, nginx, nginx-reload, alb (simulated), gateway-api, ingress-nginx, istio or "
                "rolling-update."
            ),
        ),
    ] = "envoy",
    as_json: JsonOption = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running until Ctrl-C, to look around.")
    ] = False,
) -> int:
    """Play real rollouts on this machine.

    Canaries and blue-green switches: promoted, rolled back because the candidate fails or is slow, aborted by a person.
    """
    # Imported here: it brings the whole test bed, which an installation without the extra `testbed` does not have.
    try:
        from starter import demo as play  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Sorry(f"the demo needs {error.name}; install sluice[testbed], or run `make demo` in a clone") from error

    return play.run_demo(scenario=scenario, as_json=as_json, keep=keep, router=route)


def main() -> NoReturn:
    """Run the command that was typed, and leave with its exit code."""
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    # Not sys.exit: in one run of ten the Temporal SDK's threads still touch Python while it finalizes, and it dies of
    # SIGABRT or SIGSEGV after everything was done and said. A script must be able to trust the exit code.
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; none is a cry for help.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no arrows shall not end in a traceback
    try:
        return int(application()(arguments or ["--help"], prog_name="sluice", standalone_mode=False) or 0)
    except Sorry as sorry:
        say(str(sorry), "red")
        return sorry.code
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        say(f"{error.format_message()} See `{context.command_path if context else 'sluice'} --help`.", "red")
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        return Exit.REFUSED  # nobody reads on, as in `sluice list | head`; 0 could be taken for "promoted"
    except Exception as bug:  # noqa: BLE001 - a person typed a command; the sentence must reach them
        last = traceback.extract_tb(bug.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        say(f"internal error, please report it: {type(bug).__name__}: {bug} ({place})", "bold red")
        return Exit.REFUSED
