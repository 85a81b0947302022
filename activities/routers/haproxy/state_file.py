"""The server state file of one backend: the weights that a restarted HAProxy takes up again.

Its format is what `show servers state` prints. That text is edited here, so that the file can be written before the
servers are moved, and also while HAProxy is away. Columns are found by their names.
"""

from collections.abc import Iterable

from activities.routers.haproxy.servers import FORCED_MAINT, Server, servers


def state_file(shown: str, wanted: dict[str, int], parked: Iterable[str]) -> str:
    """A server state file with other weights, and with some servers in maintenance.

    Args:
        shown: what `show servers state` printed, or such a file; not changed.
        wanted: server → weight; other servers stay as they are.
        parked: servers that are in maintenance then; the others of `wanted` are not, as far as the socket goes.

    Raises:
        ValueError: it is no such text.
    """
    lines = shown.strip("\n").split("\n")
    if lines[0] != "1" or len(lines) < 2 or not lines[1].startswith("# "):
        raise ValueError(f"{lines[0][:40]!r} is no server state of HAProxy")
    columns = lines[1].removeprefix("# ").split()
    name, weight, admin, operational = map(
        columns.index, ("srv_name", "srv_uweight", "srv_admin_state", "srv_op_state")
    )
    away = set(parked)
    for number, line in enumerate(lines[2:], start=2):
        fields = line.split()
        if len(fields) < len(columns) or fields[name] not in wanted:
            continue
        before = int(fields[admin])
        fields[weight] = str(wanted[fields[name]])
        fields[admin] = str(before | FORCED_MAINT if fields[name] in away else before & ~FORCED_MAINT)
        # Up, as after any start, until health checks say otherwise: who was down once need not be down at a restart.
        fields[operational] = "0" if fields[name] in away else "2"
        lines[number] = " ".join(fields)
    return "\n".join(lines) + "\n"


def remembered(state: str) -> list[Server]:
    """The servers that a state file brings back; none if it is no such file, as before the first write."""
    lines = state.strip("\n").split("\n")
    try:
        columns = lines[1].removeprefix("# ").split()
        return servers(dict(zip(columns, line.split(), strict=False)) for line in lines[2:])
    except (IndexError, KeyError, ValueError):
        return []
