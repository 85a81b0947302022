"""Two pictures of one run: how soon, and how often wrongly.

Both from the numbers that `--json` writes, so that a picture never says more than the tables do.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.judge.delays import FAILING
from benchmarks.judge.falses import HEALTHY, RATES
from benchmarks.judge.lab import Section
from benchmarks.judge.world import NULLS

OURS = "Sluice 5 s"
COLOURS = {
    OURS: "#0b6e4f",
    "article's rule": "#c1121f",
    "Flagger 5×60 s": "#e07a1f",
    "Argo limit 3": "#b5838d",
    "Kayenta 3×20 min": "#7b2cbf",
    "z-test at the end": "#8d99ae",
    "z-test every 60 s": "#4a4e69",
    "Lindon–Malek": "#1d6fb8",
    "asymptotic CS 5 %": "#48a9d6",
}
NEVER_S = 5400  # where "not within an hour" is drawn
WRONG = 0.01  # of healthy rollouts, in the worst weather: a method beyond it is drawn dashed
LEAST = 0.004  # percent: left end of the false rollbacks' axis


def draw(sections: dict[str, Section], folder: Path) -> None:
    """Write `judge-delay.png` and `judge-false.png`."""
    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    folder.mkdir(parents=True, exist_ok=True)
    falses, delays = sections["false"].data, sections["delay"].data
    saved(delay(delays, falses), folder / "judge-delay.png")
    saved(false(falses), folder / "judge-false.png")


def saved(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})


def delay(delays: dict[str, Any], falses: dict[str, Any]) -> Figure:
    """Median delay against how bad the candidate is, one panel a rate."""
    figure = Figure(figsize=(10.5, 4.9), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, len(RATES), sharey=True))
    for rate, panel in zip(RATES, panels, strict=True):
        _delays_at(panel, rate, delays, [falses[f"{weather} {rate}"] for weather in NULLS])
    panels[0].set_ylabel("median time to rollback")
    figure.supxlabel("how many times more errors than stable (0.5 %), from the first request; 5 % of the traffic")
    solid = [Line2D([], [], color=colour, lw=3 if name == OURS else 1.4) for name, colour in COLOURS.items()]
    lines = [*solid, Line2D([], [], color="black", ls=":"), Line2D([], [], color="grey", ls="--")]
    names = [
        *COLOURS,
        "no test with our margin and α\ncan be faster (mean)",
        "dashed: in some weather over 1 % of\nhealthy candidates are rolled back",
    ]
    figure.legend(lines, names, loc="outside upper center", ncols=4, frameon=False, fontsize=8.5)
    return figure


def _delays_at(panel: Axes, rate: int, delays: dict[str, Any], falses: list[dict[str, Any]]) -> None:
    times = [p / HEALTHY for p in FAILING]
    cells = [delays[f"{rate} req/s, {100 * p:.0f} %"] for p in FAILING]
    for order, (name, colour) in enumerate(reversed(COLOURS.items())):
        medians = [cell["methods"][name]["median"] for cell in cells]
        wrong = max(weather[name]["hits"] / weather[name]["of"] for weather in falses) > WRONG
        shown = [NEVER_S * 1.04**order if value is None or value > 3600 else value for value in medians]
        width = 3.0 if name == OURS else 1.4
        panel.plot(times, shown, color=colour, ls="--" if wrong else "-", lw=width, marker="o", ms=4)
    panel.plot(times, [cell["bound"] for cell in cells], color="black", ls=":")
    panel.axhline(3600, color="lightgrey", lw=0.8, zorder=0)
    panel.set(xscale="log", yscale="log", ylim=(3, 9000), title=f"{rate} requests a second")
    panel.set_xticks(times, [f"{value:.0f}×" for value in times], minor=False)
    panel.minorticks_off()
    ticks = {5: "5 s", 15: "15 s", 60: "1 min", 300: "5 min", 1200: "20 min", 3600: "1 h", NEVER_S * 1.17: "not in 1 h"}
    panel.set_yticks(list(ticks), list(ticks.values()))


def false(falses: dict[str, Any]) -> Figure:
    """False rollbacks, one panel a world; per method the worst rate of traffic."""
    worlds = list(dict.fromkeys(name.rsplit(" ", 1)[0] for name in falses))
    figure = Figure(figsize=(10.5, 5.6), layout="constrained")
    panels: list[Axes] = list(figure.subplots(2, 3, sharex=True, sharey=True).flat)
    for world, panel in zip(worlds, panels, strict=True):
        _falses_in(panel, world, falses)
    figure.supxlabel("percent of healthy rollouts rolled back within an hour, at the worst of 10, 100, 1000 requests/s")
    handles = [Patch(color="dimgrey"), Patch(color="gainsboro"), Line2D([], [], color="black", ls=":")]
    names = ["seen", "upper 95 % limit", "what Sluice promises at most: 0.1 %"]
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False, fontsize=8.5)
    return figure


TITLES = {
    "plain": "fair weather",
    "outage": "outage of both for 2 min",
    "drift": "error ratio drifts ×0.3…×3",
    "burst": "errors in bursts of 3",
    "pods": "pods differ by 15 %",
    "boundary": "25 % worse: tolerated by us",
}


def _falses_in(panel: Axes, world: str, falses: dict[str, Any]) -> None:
    names = list(reversed(COLOURS))
    for place, name in enumerate(names):
        found = [falses[f"{world} {rate}"][name] for rate in RATES]
        worst = max(found, key=lambda share: (share["hits"] / share["of"], share["upper"]))
        panel.barh(place, 100 * worst["upper"] - LEAST, left=LEAST, color="gainsboro", height=0.7)
        seen = 100 * worst["hits"] / worst["of"]
        if seen > LEAST:
            panel.barh(place, seen - LEAST, left=LEAST, color=COLOURS[name], height=0.7)
        panel.text(130, place, f"{seen:.2g} %" if seen < 99.5 else "100 %", va="center", ha="left", fontsize=8)
    panel.axvline(0.1, color="black", ls=":", lw=1)
    panel.set(xscale="log", xlim=(LEAST, 100), title=TITLES[world])
    panel.set_yticks(range(len(names)), names)
    panel.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
