"""The map of one service: share, mark and forced rule as keys and values, which HAProxy replaces as a whole.

One file of lines `key value`. HAProxy reads it at every start and keeps it in memory; while it runs, only its socket
changes what it has in memory. So there are two copies, and both are written and compared. Everything is in one map
because HAProxy replaces a map at once (`prepare map`, `add map`, `commit map`): no request can see the share of one
write and the header rule of another. `set map`, one key at a time, was rejected for that, and because it takes `weight
abc` without a word and means 0 %.

Keys that are not ours are the operator's and stay. Five of them say what haproxy.cfg does, as no command shows that:
`header`, `cookie` and `user` (the names that it reads), `candidate` and `stable` (the backends that it sends to).
"""

import re

from activities.ports import Write
from rollout.base import Told, percent_text
from rollout.errors import Misconfigured
from rollout.routes import HaproxyRoute

WHOLE = 10_000  # draws; weights are hundredths of a percent
FORCE_CANDIDATE, FORCE_STABLE = "force-candidate", "force-stable"
RAISED = "raised"  # with server weights: the candidate has had users, whom a cookie may lead back to it
_OURS = ("weight", "percent", "epoch", "owner", FORCE_CANDIDATE, FORCE_STABLE, RAISED, "sticky", "ttl")
_OUR_WORDS = [[key] for key in _OURS]

Entries = dict[str, str]


class Mark(Told):
    """What the last write left; epoch 0 if there was none.

    Attributes:
        percent: what it asked for; None if nothing was written yet.
        forced: whether the forced-header rules are there.
    """

    epoch: int = 0
    owner: str | None = None
    percent: float | None = None
    forced: bool = False

    @property
    def leads_nobody(self) -> bool:
        """Whether nobody at all shall reach the candidate, not even by header or by a cookie of HAProxy's own."""
        return self.percent == 0 and self.epoch > 0 and not self.forced


def parsed(content: bytes, route: HaproxyRoute) -> Entries:
    """Keys and values of a map file, read as HAProxy reads it: a comment has its `#` in the first column.

    Raises:
        Misconfigured: it is no text, or has a key twice, of which HAProxy would use the first.
    """
    found: Entries = {}
    for line in _text(content, route).splitlines():
        if line.startswith("#") or not line.strip():
            continue
        key, *value = line.split(maxsplit=1)
        if key in found:
            raise Misconfigured(f"{route}: {route.service}.map has the key {key} twice; keep one")
        found[key] = value[0].rstrip() if value else ""
    return found


def rendered(content: bytes, wanted: Entries, route: HaproxyRoute) -> bytes:
    """A map file with these keys and values: comments and the operator's lines stay where they are, ours follow."""
    kept = [line for line in _text(content, route).splitlines() if line.split()[:1] not in _OUR_WORDS]
    ours = {key: value for key, value in wanted.items() if key in _OURS}
    return "".join(f"{line}\n" for line in (*kept, *_lines(ours))).encode()


def payload(wanted: Entries) -> str:
    """All keys and values as `add map` takes them."""
    return "".join(f"{line}\n" for line in _lines(wanted))


def desired(found: Entries, route: HaproxyRoute, write: Write, *, pins: bool = False) -> Entries:
    """The operator's entries with what one write says.

    Args:
        found: what is in the map; not changed.
        route: names the forced header, and what tells users apart.
        write: percent, epoch and owner.
        pins: whether HAProxy may keep users on a server. Then nothing leads to a candidate that had users once and is
            at 0 % again, not even the header: only maintenance keeps those users from it.

    Raises:
        Misconfigured: the percent has no whole weight, a word cannot stand in a map, or haproxy.cfg does not do it.
    """
    wanted = {key: value for key, value in found.items() if key not in _OURS}
    if route.mode == "map":
        wanted["weight"] = str(weight(write.percent, route))
    else:
        wanted["percent"] = f"{write.percent:.10g}"
        if write.percent > 0 or RAISED in found or found.get("percent", "0") != "0":
            wanted[RAISED] = "yes"
    wanted["epoch"] = str(write.epoch)
    if not write.release:
        wanted["owner"] = write.owner
    closed = pins and RAISED in wanted and write.percent == 0
    if route.header and write.header and not write.release and not closed:
        wanted |= {FORCE_CANDIDATE: route.header.candidate, FORCE_STABLE: route.header.stable}
    if route.sticky and write.percent > 0 and not write.release:
        # At 0 % nothing may be left: no cookie is handed out then, and none is looked at.
        wanted["sticky"] = "header" if route.sticky.header else "cookie"
        wanted["ttl"] = str(int(route.sticky.ttl.total_seconds()))
    for key, value in wanted.items():
        if key in _OURS and (value != value.strip() or not value.isprintable()):
            raise Misconfigured(f"{route}: {value!r} cannot stand in a map of HAProxy as {key}; use plain words")
    return wanted


def unfit(found: Entries, route: HaproxyRoute) -> str | None:
    """Why haproxy.cfg, by what the operator's lines say of it, does not do what the route asks for; None if it does."""
    file = f"{route.service}.map"
    asked = {"header": route.header and route.header.name}
    if route.sticky:
        asked["cookie" if route.sticky.cookie_name else "user"] = route.sticky.cookie_name or route.sticky.header
    for key, name in asked.items():
        if name and key not in found:
            return f"{file} does not say that haproxy.cfg reads {key} {name}: add `{key} {name}` to it once it does"
        if name and found[key].lower() != name.lower():
            return f"haproxy.cfg reads {key} {found[key]}, says {file}, and the spec wants {name}: change one of them"
    for key, name in {"candidate": route.candidate_pool, "stable": route.stable_pool}.items():
        if found.get(key, name) != name:
            return f"haproxy.cfg has {found[key]} as {key}, says {file}, and the spec wants {name}: change one of them"
    return None


def mark(found: Entries, route: HaproxyRoute) -> Mark:
    """What the last write left in a map.

    Raises:
        Misconfigured: epoch, weight or percent is no number of the right kind.
    """
    own = found.get("weight", "0") if route.mode == "map" else found.get("percent")
    shape = r"\d{1,5}" if route.mode == "map" else r"\d{1,3}(\.\d+)?(e-\d+)?"
    for key, value, form in (("epoch", found.get("epoch", "0"), r"\d+"), ("share", own, shape)):
        if value is not None and not re.fullmatch(form, value):
            raise Misconfigured(f"{route}: {route.service}.map says {key} {value!r}, which is no number of ours")
    share = None if own is None else float(own) / 100 if route.mode == "map" else float(own)
    if share is not None and not 0 <= share <= 100:
        raise Misconfigured(f"{route}: {route.service}.map says {share:g} %; 0 to 100 is possible")
    return Mark(
        epoch=int(found.get("epoch", "0")),
        owner=found.get("owner"),
        percent=share,
        forced=FORCE_CANDIDATE in found or FORCE_STABLE in found,
    )


def fence(found: Entries) -> tuple[int, str | None]:
    """Epoch and owner alone: what the way back still looks at in a map that is not understood."""
    epoch = found.get("epoch", "")
    return int(epoch) if epoch.isdecimal() else 0, found.get("owner")


def difference(shown: Entries, written: Entries, file: str) -> str | None:
    """How what HAProxy has in memory differs from the file in lines of ours, in words; None if it does not."""
    keys = [key for key in _OURS if shown.get(key) != written.get(key)]
    if not keys:
        return None
    if "weight" in keys:
        return f"HAProxy shows {_share(shown)}, {file} says {_share(written)}"
    told = "; ".join(f"HAProxy shows {_entry(key, shown)}, {file} says {_entry(key, written)}" for key in keys[:2])
    return told + ("; and more" if len(keys) > 2 else "")


def weight(percent: float, route: HaproxyRoute) -> int:
    """Draws of 10 000.

    Raises:
        Misconfigured: there is no whole number for it.
    """
    whole = round(percent * 100)
    if not 0 <= whole <= WHOLE or abs(percent * 100 - whole) > 1e-6:
        raise Misconfigured(f"{route} cannot take {percent} %: 0 to 100 in steps of 0.01 is possible")
    return whole


def _text(content: bytes, route: HaproxyRoute) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{route}: {route.service}.map is no text: {error}") from error


def _lines(found: Entries) -> list[str]:
    return [f"{key} {value}".rstrip() for key, value in found.items()]


def _entry(key: str, found: Entries) -> str:
    return f"{key} {found[key]}" if key in found else f"no {key}"


def _share(found: Entries) -> str:
    value = found.get("weight", "0")
    if not value.isdecimal():
        return f"weight {value!r} (which it takes for 0)"
    return percent_text(int(value) / 100)
