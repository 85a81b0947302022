"""Pages that are made from the code, so that they cannot drift from it: `python -m tools.docs [--check]`.

`docs/schema.json` is the spec's JSON Schema; `docs/reference.md` lists every name that a user may type or see.
"""

import json
import sys
from pathlib import Path

from rollout import names
from rollout.happened import Phase
from starter.specs import spec_schema
from workflows.operated import DESCRIPTIONS

DOCS = Path(__file__).parent.parent / "docs"


def schema() -> str:
    """The JSON Schema of a spec."""
    return json.dumps(spec_schema(), indent=2) + "\n"


def reference() -> str:
    """Names, as Markdown."""
    attributes = "\n".join(f"| `{name}` | {kind} |" for name, kind in names.SEARCH_ATTRIBUTES.items())
    commands = "\n".join(f"| `{name}` | {DESCRIPTIONS[name]} |" for name in names.COMMANDS)
    activities = (
        names.PLAN_ROLLOUT,
        names.PREPARE_PODS,
        names.SHIFT_TRAFFIC,
        names.WATCH_HEALTH,
        names.RESTORE_TRAFFIC,
        names.DRAIN_POOL,
        names.APPLY_MITIGATION,
    )
    return f"""# Names

Made by `make docs` from `rollout/names.py`. All of them are stable: they are in histories, saved views and scripts.

- task queue: `{names.TASK_QUEUE}` · workflow type: `{names.ROLLOUT}` · workflow ID: `rollout:<environment>/<service>`
- activity types: {", ".join(f"`{name}`" for name in activities)}
- queries: `{names.STATUS}`, `{names.PLAN}`
- phases: {", ".join(f"`{phase}`" for phase in Phase)}
- failure types of a closed run: {", ".join(f"`{name}`" for name in names.FAILURES)}

## Commands (each one a signal and an update)

| name | what it does |
|---|---|
{commands}

## Search attributes

| name | type |
|---|---|
{attributes}
"""


PAGES = {"schema.json": schema, "reference.md": reference}


def main() -> int:
    """Write the pages, or say which are out of date."""
    stale = []
    for name, make in PAGES.items():
        page = DOCS / name
        if "--check" in sys.argv:
            if not page.exists() or page.read_text(encoding="utf-8") != make():
                stale.append(name)
        else:
            page.write_text(make(), encoding="utf-8")
            print(f"docs/{name}")
    if stale:
        print(f"out of date: {', '.join(stale)}; run `make docs`")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
