"""`setup` and `worker`: what has to be there before the first rollout."""

import os
import sys
from pathlib import Path

import typer
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

import starter
from rollout import names
from starter.exits import Exit, Sorry
from starter.options import JsonOption
from starter.printing import show, show_json, words
from starter.reaching import PATIENCE, reach

_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT,
}


def setup(*, as_json: JsonOption = False) -> Exit:
    """Prepare a Temporal namespace, once.

    Registers the search attributes; doing it again does no harm.
    """
    namespace, added = reach(_register)
    if as_json:
        show_json({"namespace": namespace, "search_attributes": list(names.SEARCH_ATTRIBUTES), "added": added})
    elif added:
        show(words(f"namespace {namespace}: added {', '.join(added)}"))
    else:
        show(words(f"namespace {namespace}: everything is there already"))
    return Exit.OK


def worker() -> Exit:
    """Run a worker until told to stop.

    Its settings are in the file that SLUICE_CONFIG names (sluice.toml by default), and in SLUICE_* and TEMPORAL_*
    variables.
    """
    # The one that belongs to this package: `-m worker` would take whatever worker.py the current folder has.
    script = Path(starter.__file__).parent.parent / "worker.py"
    os.execv(sys.executable, [sys.executable, str(script)])  # noqa: S606 - no shell wanted


async def _register(client: Client) -> tuple[str, list[str]]:
    service = client.operator_service
    try:
        request = ListSearchAttributesRequest(namespace=client.namespace)
        known = (await service.list_search_attributes(request, retry=True, timeout=PATIENCE)).custom_attributes
        wanted = {name: _TYPES[kind] for name, kind in names.SEARCH_ATTRIBUTES.items()}
        for name, kind in wanted.items():
            if known.get(name, kind) != kind:
                is_now = IndexedValueType.Name(known[name]).removeprefix("INDEXED_VALUE_TYPE_").capitalize()
                raise Sorry(
                    f"search attribute {name} is a {is_now} and must be a {names.SEARCH_ATTRIBUTES[name]}; remove it "
                    f"with `temporal operator search-attribute remove --name {name}`, then run this again"
                )
        missing = {name: kind for name, kind in wanted.items() if name not in known}
        if missing:
            request_ = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            await service.add_search_attributes(request_, retry=True, timeout=PATIENCE)
    except RPCError as error:
        if error.status in {RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.PERMISSION_DENIED}:
            lines = ", ".join(f"{name} ({kind})" for name, kind in names.SEARCH_ATTRIBUTES.items())
            raise Sorry(
                f"this server lets nobody add search attributes here; ask its administrator for: {lines}"
            ) from error
        raise
    return client.namespace, list(missing)


def add(app: typer.Typer) -> None:
    """Give the application these commands."""
    app.command()(setup)
    app.command()(worker)
