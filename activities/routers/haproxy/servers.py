"""The servers of HAProxy's backends: whose they are, how they are, and in which order they are moved.

Two things decide the order. All weights 0, even for a moment, is an answer 503: so who gains is raised before who loses
is lowered. And a user whom HAProxy's own cookie keeps on a server comes to it at weight 0 and while it drains; only
maintenance moves that user on. So the way back ends with the candidate's servers in maintenance ("parked"), which stops
their health checks too; before they get traffic again they are woken with weight 0, until a check has seen them well.
"""

from collections.abc import Iterable

from pydantic import Field

from activities.ports import Pool
from activities.routers.haproxy.socket import Command, command
from rollout.base import Told
from rollout.routes import HaproxyRoute

_RUNNING = ("1", "2")  # srv_op_state: starting slowly, running
_MAINT, _DRAIN = 0x01 | 0x02 | 0x04 | 0x20 | 0x40, 0x08 | 0x10  # srv_admin_state
FORCED_MAINT = 0x01  # by the socket

Row = dict[str, str]


class Server(Told):
    """One server of a backend.

    Attributes:
        name: as the configuration calls it.
        weight: now.
        initial: of the configuration.
        up: whether health checks, if there are any, find it well.
        parked: whether it is in maintenance by the socket, as we leave the candidate's.
        away: whether it is in maintenance or draining, whoever did it: its weight counts for nothing then.
        backup: whether it gets traffic only while all others of the backend are down, whatever its weight.
    """

    name: str
    weight: int
    initial: int
    up: bool
    parked: bool = False
    away: bool = False
    backup: bool = False


Pools = dict[Pool, list[Server]]


def servers(rows: Iterable[Row]) -> list[Server]:
    """Servers in the rows of `show servers state`, which may have the column `bck` of `show stat`.

    Raises:
        KeyError, ValueError: a column is missing, or is no number.
    """
    found = []
    for row in rows:
        admin = int(row["srv_admin_state"])
        found.append(
            Server(
                name=row["srv_name"],
                weight=int(row["srv_uweight"]),
                initial=int(row["srv_iweight"]),
                up=row["srv_op_state"] in _RUNNING,
                parked=bool(admin & FORCED_MAINT),
                away=bool(admin & (_MAINT | _DRAIN)),
                backup=row.get("bck", "0") != "0",
            )
        )
    return found


def nobody() -> Pools:
    """Two empty pools."""
    return {"candidate": [], "stable": []}


def pools(found: Iterable[Server], route: HaproxyRoute) -> Pools:
    """The servers of each pool: those whose names begin with its name; of two such names the longer one counts."""
    named: dict[Pool, str] = {"candidate": route.candidate_pool, "stable": route.stable_pool}
    members = nobody()
    for server in found:
        fitting = [pool for pool, name in named.items() if server.name.startswith(name)]
        if fitting:
            members[max(fitting, key=lambda pool: len(named[pool]))].append(server)
    return members


def strangers(found: Iterable[Server], route: HaproxyRoute) -> list[str]:
    """Servers of the backend that take traffic beside the others and belong to no pool."""
    names = (route.candidate_pool, route.stable_pool)
    taking = [each for each in found if each.weight and not each.away and not each.backup]
    return [each.name for each in taking if not each.name.startswith(names)]


def share(members: Pools) -> float:
    """Percent on the candidate that the weights give, of servers that nobody took away; 0 if there are none."""
    mine, other = (sum(each.weight for each in members[p] if not each.away) for p in ("candidate", "stable"))
    return 100 * mine / ((mine + other) or 1)


class Move(Told):
    """From what the servers are to what they shall be; nothing at all in mode `map`.

    Attributes:
        backend: of the servers.
        members: the servers of each pool, as they are.
        wanted: server → weight.
        park: whether the candidate's servers shall be in maintenance.
    """

    backend: str = ""
    members: Pools = Field(default_factory=nobody)
    wanted: dict[str, int] = Field(default_factory=dict)
    park: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the servers are what they shall be."""
        every = [*self.members["candidate"], *self.members["stable"]]
        parked = {each.parked for each in self.members["candidate"]}
        return all(each.weight == self.wanted[each.name] for each in every) and parked <= {self.park}

    @property
    def parked(self) -> list[str]:
        """Servers that shall be in maintenance."""
        return [each.name for each in self.members["candidate"]] if self.park else []

    @property
    def asleep(self) -> list[str]:
        """Servers that must be woken first."""
        return [each.name for each in self.members["candidate"] if each.parked and not self.park]

    def commands(self) -> list[Command]:
        """What moves the servers, in an order in which somebody always has a weight; `asleep` are awake by then."""
        every = [*self.members["candidate"], *self.members["stable"]]
        rising = [each.name for each in every if self.wanted[each.name] > (0 if each.parked else each.weight)]
        falling = [each.name for each in every if self.wanted[each.name] < each.weight]
        return [
            *(self._weigh(name, self.wanted[name]) for name in rising),
            *(self._bring(each.name, "maint") for each in self.members["candidate"] if self.park),
            *(self._weigh(name, self.wanted[name]) for name in falling if name not in rising),
        ]

    def wake(self) -> list[Command]:
        """What takes servers out of maintenance, without any traffic yet."""
        names = self.asleep
        return [*(self._weigh(name, 0) for name in names), *(self._bring(name, "ready") for name in names)]

    def undo(self) -> list[Command]:
        """What brings back the servers as they were, in such an order, too."""
        every = [*self.members["candidate"], *self.members["stable"]]
        first: list[Command] = []
        then: list[Command] = []
        for each in every:
            (first if each.weight > self.wanted[each.name] else then).append(self._weigh(each.name, each.weight))
        states = dict.fromkeys(self.asleep, "maint")
        states |= {each.name: "ready" for each in self.members["candidate"] if self.park and not each.away}
        return [*first, *(self._bring(name, state) for name, state in states.items()), *then]

    def _weigh(self, name: str, weight: int) -> Command:
        return command("set", "server", f"{self.backend}/{name}", "weight", str(weight))

    def _bring(self, name: str, state: str) -> Command:
        return command("set", "server", f"{self.backend}/{name}", "state", state)
