"""Unleash comes from whichever registry a machine uses, in exactly the version that is pinned."""

import json
from pathlib import Path

import pytest

from tools.parts import unleash
from tools.parts.running import UnavailableError

FOLDER = Path(__file__).resolve().parents[2] / "tools" / "unleash"


def test_the_lock_names_no_registry_and_has_the_hash_of_every_package() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert len(packages) > 300
    assert not [name for name, each in packages.items() if "resolved" in each]
    assert not [name for name, each in packages.items() if not each.get("integrity", "").startswith("sha512-")]
    assert packages["node_modules/unleash-server"]["version"] == unleash.VERSION
    assert json.loads((FOLDER / "package.json").read_text())["dependencies"] == {"unleash-server": unleash.VERSION}


@pytest.mark.parametrize(
    ("programs", "version", "words"),
    [
        ((), "", "no Node.js is here, and no npm; install Node.js 20"),
        (("node", "npm"), "v18.19.0", "Node.js 18 is here; install Node.js 20"),
        (("node",), "v20.20.2", "Node.js 20 is here, and no npm"),
    ],
)
def test_a_machine_without_a_fitting_node_is_told_what_to_install(
    programs: tuple[str, ...], version: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unleash, "on_path", lambda *names: next((each for each in names if each in programs), None))
    monkeypatch.setattr(unleash, "ask", lambda *_: version)
    with pytest.raises(UnavailableError, match=words):
        unleash._node()
