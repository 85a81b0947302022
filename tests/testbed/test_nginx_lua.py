import difflib
import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from activities.routers.nginx.connection import NginxConnection
from rollout.routes import NginxRoute
from testbed.nginx_lua import TEMPLATE, NginxLua, lua_modules
from testbed.parts import PartMissing
from testbed.processes import wait_until
from testbed.programs import Load, Shop
from testbed.template import render

DOCUMENT = {"candidate": "search-candidate", "stable": "search-stable", "weight": 0, "epoch": 1}


def test_only_addresses_services_and_paths_differ_from_what_operators_copy(tmp_path: Path) -> None:
    nginx = NginxLua(tmp_path, stable_port=1, candidate_port=2)
    before = TEMPLATE.read_text(encoding="utf-8").splitlines()
    after = nginx.rendered(Path("/resty")).splitlines()
    changed = [line for line in difflib.ndiff(before, after) if line.startswith("- ")]
    assert [line.removeprefix("- ").strip() for line in changed] == [
        "#   install -d -o www-data -g sluice -m 2775 /var/lib/sluice   # written by nginx and by Sluice",
        'lua_package_path "/etc/nginx/sluice/?.lua;;";',
        'folder = "/var/lib/sluice",',
        "services = { checkout = {} },",
        'init_worker_by_lua_block { require("sluice").start() }',
        "server shop-stable:8000;",
        "server shop-candidate:8000;",
        "listen 8080;",
        "listen 127.0.0.1:8081;",
    ]


def test_something_that_is_no_longer_in_the_example_is_noticed() -> None:
    with pytest.raises(KeyError, match="listen 80"):
        render("listen 8080;", {"listen 8080": "listen 1", "listen 80": "listen 2"})


def test_a_missing_lua_module_ends_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PartMissing, match=r"make setup.*libnginx-mod-http-lua"):
        lua_modules((tmp_path,))


def test_settings_and_route_are_what_the_product_understands(tmp_path: Path) -> None:
    nginx = NginxLua(tmp_path, stable_port=1, candidate_port=2, service="search")
    table = tomllib.loads(nginx.settings("edge"))["connections"]["edge"]
    connection = NginxConnection.model_validate(table)
    assert connection.hosts[0].state == nginx.admin_url
    assert connection.folder == nginx.folder
    route = NginxRoute.model_validate(nginx.route("edge"))
    assert (route.connection, route.service, route.mode) == ("edge", "search", "shared-dict")


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxLua]:
    folder = tmp_path_factory.mktemp("nginx-lua")
    stable, candidate = Shop(folder, version="stable"), Shop(folder, version="canary")
    nginx = NginxLua(folder, stable_port=stable.port, candidate_port=candidate.port, service="search")
    with stable, candidate, nginx:
        yield nginx


@pytest.fixture
def nginx(bed: NginxLua) -> NginxLua:
    bed.reset()
    return bed


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as http:
        yield http


def put(http: httpx.Client, nginx: NginxLua, content: str | bytes) -> httpx.Response:
    url = f"{nginx.admin_url}/sluice/search"
    tag = http.get(url).headers.get("etag")
    return http.put(url, content=content, headers={"If-Match": tag} if tag else {"If-None-Match": "*"})


@pytest.mark.server
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"owner": 'rollout:"prod"\\é\n\t/x', "note": None, "flag": True},
        {"header": "X-Canary", "header_candidate": "☃", "header_stable": "{}"},
        {"user_cookie": "who-1", "max_age": 60},
        {"user_header": "X-User", "unknown": -1.5e3},
    ],
)
def test_a_document_is_kept_as_it_was_sent(nginx: NginxLua, http: httpx.Client, more: dict[str, object]) -> None:
    for indent in (None, 2):
        content = json.dumps(DOCUMENT | more, ensure_ascii=False, indent=indent).encode()
        assert put(http, nginx, content).status_code == 204
        answer = http.get(f"{nginx.admin_url}/sluice/search").json()
        assert answer["running"] == answer["stored"] == DOCUMENT | more
        assert (nginx.folder / "search.json").read_bytes() == content


@pytest.mark.server
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not one JSON object"),
        ("{}", "candidate is no name"),
        ("[]", "not one JSON object"),
        (json.dumps(DOCUMENT) + "x", "not one JSON object"),
        (json.dumps(DOCUMENT)[:-1], "not one JSON object"),
        (json.dumps(DOCUMENT | {"more": {}}), "not one JSON object"),
        (json.dumps(DOCUMENT | {"owner": "\u2603"}), "not one JSON object"),  # \u escapes are not read
        (json.dumps(DOCUMENT | {"candidate": "a b"}), "candidate is no name"),
        (json.dumps(DOCUMENT | {"stable": 7}), "stable is no name"),
        (json.dumps(DOCUMENT | {"weight": 10_001}), "weight is no whole number"),
        (json.dumps(DOCUMENT | {"weight": -1}), "weight is no whole number"),
        (json.dumps(DOCUMENT | {"weight": 0.5}), "weight is no whole number"),
        (json.dumps(DOCUMENT | {"weight": "5"}), "weight is no whole number"),
        (json.dumps(DOCUMENT | {"epoch": None}), "epoch is no whole number"),
        (json.dumps(DOCUMENT | {"header": "X-Canary"}), "header needs"),
        (json.dumps(DOCUMENT | {"user_cookie": "who"}), "max_age"),
        (json.dumps(DOCUMENT | {"user_header": "a b"}), "user_header"),
        (json.dumps(DOCUMENT | {"owner": "x" * 20_000}), ""),
    ],
)
def test_anything_else_is_refused_and_changes_nothing(
    nginx: NginxLua, http: httpx.Client, content: str, words: str
) -> None:
    answer = put(http, nginx, content)
    assert answer.status_code in {400, 413}
    assert words in answer.text
    assert http.get(f"{nginx.admin_url}/sluice/search").json()["running"] is None
    assert not (nginx.folder / "search.json").exists()


@pytest.mark.server
def test_a_change_says_what_it_has_seen(nginx: NginxLua, http: httpx.Client) -> None:
    url, content = f"{nginx.admin_url}/sluice/search", json.dumps(DOCUMENT)
    assert http.put(url, content=content).status_code == 428
    assert http.put(url, content=content, headers={"If-Match": '"x"'}).status_code == 412
    assert http.put(url, content=content, headers={"If-None-Match": "*"}).status_code == 204
    assert http.put(url, content=content, headers={"If-None-Match": "*"}).status_code == 412
    assert http.delete(url).status_code == 428
    assert http.post(url).status_code == 405
    assert http.get(f"{url}x").status_code == 404
    assert http.get(f"{nginx.admin_url}/sluice/../sluice/search").status_code == 200
    tag = http.get(url, headers={"If-Match": '"x"'}).headers["etag"]
    assert http.delete(url, headers={"If-Match": tag}).status_code == 204
    assert list(nginx.folder.iterdir()) == []


@pytest.mark.server
def test_no_visitor_is_lost_while_the_split_changes(nginx: NginxLua, http: httpx.Client, tmp_path: Path) -> None:
    with Load(tmp_path, url=nginx.url) as load:
        for epoch in range(20):
            answer = put(http, nginx, json.dumps(DOCUMENT | {"weight": 10_000 * (epoch % 2), "epoch": epoch}))
            assert answer.status_code == 204
            goal = load.report().requests + 20
            wait_until(lambda goal=goal: load.report().requests > goal, within_s=10, what="visitors came")  # type: ignore[misc]  # mypy cannot infer a default of a lambda
    report = load.report()
    assert report.dropped == {}
    assert report.bad_responses == 0
    assert min(report.versions["stable"], report.versions["canary"]) > 20
    assert sum(report.versions.values()) == report.requests


@pytest.mark.server
def test_workers_end_with_their_master(nginx: NginxLua) -> None:
    def workers() -> set[str]:
        return set(Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text(encoding="utf-8").split())

    pids = workers()
    assert len(pids) == 2
    os.kill(nginx.pid, 9)  # the master alone, as when this process dies
    try:
        wait_until(lambda: not any(alive(pid) for pid in pids), within_s=10, what="the workers are gone")
    finally:
        nginx.kill()
        nginx.start()


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
