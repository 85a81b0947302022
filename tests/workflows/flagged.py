"""Rollouts with flags: as mitigations of a breach, or as the route whose share of users rises."""

from tests.fakes.flag import FakeFlag
from tests.workflows.trial import Trial, Trials

KEY = "new-checkout"


def of_flag(trials: Trials, *stages: dict[str, object], share: float = 0, on: bool = True, **strategy: object) -> Trial:
    """A rollout whose route is a flag."""
    trial = trials.trial({"kind": "flag", "stages": list(stages), **strategy})
    flag = FakeFlag(KEY, on=on, share=share)
    trial.connections.flags[f"{trial.service}/{KEY}"] = flag
    trial.routers = (flag,)
    trial.spec["routes"] = [{"kind": "flagd", "connection": trial.service, "key": KEY}]
    return trial


def the_flag(trial: Trial) -> FakeFlag:
    """Its flag."""
    assert isinstance(trial.router, FakeFlag)
    return trial.router


def with_flags(
    trial: Trial, *flags: str, then_watch: str = "3s", when: tuple[str, ...] = ("errors",)
) -> list[FakeFlag]:
    """Let breaches turn these flags off, in this order."""
    made = [FakeFlag(key) for key in flags]
    trial.connections.flags.update({f"{trial.service}/{each.name}": each for each in made})
    trial.spec["mitigations"] = [
        {
            "when": list(when),
            "flag": {"kind": "flagd", "connection": trial.service, "key": key},
            "then_watch": then_watch,
            "prove_within": "3s",
        }
        for key in flags
    ]
    return made
