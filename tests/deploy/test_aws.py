"""deploy/aws: the Terraform leaves the weights to Sluice, and the policy allows what Sluice calls and nothing else."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import calls, hcl
from tests.deploy.hcl import Block

ROOT = Path(__file__).resolve().parents[2]
AWS = ROOT / "deploy" / "aws"
TERRAFORM = AWS / "blue-green.tf"
MANAGED = {"aws:ResourceTag/sluice": "managed"}
READS = re.compile(r"\w+:(Describe|Get)\w+")

Statement = dict[str, Any]


@pytest.fixture(scope="module")
def terraform() -> Block:
    return hcl.parsed(TERRAFORM.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def statements() -> list[Statement]:
    policy = json.loads((AWS / "iam-policy.json").read_bytes(), object_pairs_hook=without_repeats)
    assert set(policy) == {"Version", "Statement"}
    assert policy["Version"] == "2012-10-17"
    return list(policy["Statement"])


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON takes a key twice, and IAM would not see the first."""
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


# ── Terraform ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("color", ["blue", "green"])
def test_a_target_group_is_checked_where_the_service_says_that_it_is_ready(terraform: Block, color: str) -> None:
    group = terraform.one("resource", "aws_lb_target_group", color)
    assert group.attributes["name"] == (f'"${{var.name}}-{color}"',)
    assert int(group.attributes["deregistration_delay"][0]) > 0
    check = group.one("health_check").attributes
    assert check["path"] == ('"/ready"',)
    assert int(check["timeout"][0]) < int(check["interval"][0])


def test_both_colours_are_alike(terraform: Block) -> None:
    blue, green = (terraform.one("resource", "aws_lb_target_group", color) for color in ("blue", "green"))
    assert {**blue.attributes, "name": ()} == {**green.attributes, "name": ()}
    assert blue.blocks == green.blocks


@pytest.mark.parametrize(
    ("kind", "name", "action"),
    [("aws_lb_listener", "https", "default_action"), ("aws_lb_listener_rule", "service", "action")],
)
def test_a_rule_names_both_groups_and_is_then_left_alone(terraform: Block, kind: str, name: str, action: str) -> None:
    rule = terraform.one("resource", kind, name)
    assert rule.one(action).attributes["type"] == ('"forward"',)
    groups = rule.one(action).one("forward").all("target_group")
    assert ["".join(group.attributes["arn"]) for group in groups] == [
        "aws_lb_target_group.blue.arn",
        "aws_lb_target_group.green.arn",
    ]
    assert ["".join(group.attributes["weight"]) for group in groups] == ["local.weight.blue", "local.weight.green"]
    assert set(hcl.items(rule.one("lifecycle").attributes["ignore_changes"])) == {action, "tags", "tags_all"}
    assert "".join(rule.attributes["tags"]) == "local.managed"


def test_the_active_colour_is_a_first_value_and_one_of_two(terraform: Block) -> None:
    color = terraform.one("variable", "active_color")
    assert color.attributes["default"] == ('"blue"',)
    condition = color.one("validation").attributes["condition"]
    assert "".join(condition) == 'contains(["blue","green"],var.active_color)'
    assert {
        "".join(expression)
        for block in terraform.everything()
        for expression in block.attributes.values()
        if "var.active_color" in hcl.references(expression)
    } == {
        "".join(condition),
        '{\nblue=var.active_color=="blue"?100:0\ngreen=var.active_color=="green"?100:0\n}',
    }


def test_every_reference_leads_to_something_that_is_declared(terraform: Block) -> None:
    declared = {f"{block.labels[0]}.{block.labels[1]}" for block in terraform.all("resource")}
    declared |= {f"var.{block.labels[0]}" for block in terraform.all("variable")}
    declared |= {f"local.{name}" for name in terraform.one("locals").attributes}
    declared |= {"path.module"}
    asked = {
        ".".join(name.split(".")[:2])
        for block in terraform.everything()
        for expression in block.attributes.values()
        if block.type not in {"lifecycle", "required_providers"}
        for name in hcl.references(expression)
    }
    assert asked <= declared
    assert {name for name in declared if name.startswith(("var.", "local."))} <= asked, "nobody asks for it"


def test_the_policy_that_is_attached_is_the_one_beside_it(terraform: Block) -> None:
    policy = terraform.one("resource", "aws_iam_policy", "sluice").attributes["policy"]
    assert "".join(policy) == 'file("${path.module}/iam-policy.json")'


def test_the_example_finds_what_the_terraform_makes(terraform: Block) -> None:
    [route] = yaml.safe_load((ROOT / "examples" / "blue-green-alb.yaml").read_bytes())["routes"]
    default = {block.labels[0]: block.attributes.get("default", ("",))[0] for block in terraform.all("variable")}
    name = json.loads(default["name"])
    assert (route["blue"], route["green"]) == (f"{name}-blue", f"{name}-green")
    assert route["load_balancer"] == json.loads(default["load_balancer"])
    assert route["active_color"] == json.loads(default["active_color"])
    assert str(route["port"]) == terraform.one("resource", "aws_lb_listener", "https").attributes["port"][0]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("a {\n  b = 1\n", "'}' should be here|a name should be here"),
        ("a {\n  b = 1\n}}\n", r"'\\n' should be here"),
        ("a {\n  b = [1\n}\n", "bracket"),
        ("a {\n  b = (1]\n}\n", "bracket"),
        ("a {\n  b = \n}\n", "a value should be here"),
        ("a {\n  b = 1\n  b = 2\n}\n", "b is there twice"),
        ('a "b {\n}\n', "not understood"),
        ("a = <<EOT\nx\nEOT\n", "should be here"),
        ('a = "%{ if true }x%{ endif }"\n', "directives"),
        ("a b\n", "should be here"),
    ],
)
def test_the_reader_refuses_what_is_no_terraform(broken: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        hcl.parsed(broken)


def test_the_reader_reads_references_out_of_strings() -> None:
    found = hcl.parsed('a = "${var.name}-x" == b.c.d ? [e.f] : "g.h"\n').attributes["a"]
    assert hcl.references(found) == ["var.name", "b.c.d", "e.f"]


# ── Permissions ─────────────────────────────────────────────────────────────────────────────────


def test_the_policy_allows_exactly_what_the_adapters_call(statements: list[Statement]) -> None:
    granted = [action for statement in statements for action in listed(statement["Action"])]
    assert set(granted) == calls.actions(ROOT)


def test_there_are_adapters_to_compare_with() -> None:
    names = {file.name for file in calls.files(ROOT)}
    assert {"router.py", "services.py", "lambda_alias.py"} <= names


def copied(folder: Path) -> Path:
    """The adapters' sources in a folder where they may be changed."""
    for file in calls.files(ROOT):
        there = folder / file.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there)
    return folder


@pytest.mark.parametrize("method", ["call", "pages", "recent"])
def test_one_more_call_is_noticed(tmp_path: Path, method: str) -> None:
    root = copied(tmp_path)
    with (root / "activities" / "routers" / "ecs" / "services.py").open("a", encoding="utf-8") as source:
        source.write(
            f'\n\nasync def planted(aws):\n    await aws.{method}("elbv2", "delete_listener", ListenerArn="x")\n'
        )
    assert calls.actions(root) - calls.actions(ROOT) == {"elasticloadbalancing:DeleteListener"}


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ('aws.call("elbv2", operation)', "without saying which operation"),
        ("aws.call(*request)", "without saying which operation"),
        ('aws.call("elbv2", "modify_everything")', "has no operation modify_everything"),
    ],
)
def test_a_call_that_cannot_be_read_is_no_call_that_is_passed_over(tmp_path: Path, planted: str, words: str) -> None:
    root = copied(tmp_path)
    (root / "activities" / "routers" / "alb" / "planted.py").write_text(f"{planted}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        calls.actions(root)


def test_every_statement_allows_named_actions_once(statements: list[Statement]) -> None:
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    assert len({statement["Sid"] for statement in statements}) == len(statements)
    assert all(statement["Sid"].isalnum() for statement in statements)
    assert not [action for statement in statements for action in listed(statement["Action"]) if "*" in action]
    assert not any(key.startswith("Not") for statement in statements for key in statement)


def test_what_changes_something_is_limited_by_kind_of_resource_and_by_tag(statements: list[Statement]) -> None:
    allowed = {
        "elasticloadbalancing:ModifyListener": [MANAGED],
        "elasticloadbalancing:CreateRule": [MANAGED],
        "elasticloadbalancing:ModifyRule": [MANAGED],
        "elasticloadbalancing:AddTags": [MANAGED, {"elasticloadbalancing:CreateAction": "CreateRule"}],
        "elasticloadbalancing:RemoveTags": [MANAGED],
        "elasticloadbalancing:DeleteRule": [{"aws:ResourceTag/sluice:forced": "*"}],
        "lambda:UpdateAlias": [MANAGED],
        "ecs:UpdateService": [MANAGED],
    }
    seen: dict[str, list[dict[str, str]]] = {}
    for statement in statements:
        for action in listed(statement["Action"]):
            if READS.fullmatch(action):
                continue
            assert all(re.match(r"arn:aws:[a-z]+:\*:\*:[a-z-]+[/:]", arn) for arn in listed(statement["Resource"])), (
                action
            )
            condition = statement["Condition"]
            seen.setdefault(action, []).append(condition.get("StringEquals") or condition.get("StringLike"))
            if action.endswith("Tags"):
                # `sluice` itself is not among them: a worker cannot give itself more to change.
                assert condition["ForAllValues:StringLike"] == {"aws:TagKeys": "sluice:*"}
    assert seen == allowed


def test_only_reading_is_allowed_everywhere(statements: list[Statement]) -> None:
    for statement in statements:
        if "*" in listed(statement["Resource"]):
            assert all(READS.fullmatch(action) for action in listed(statement["Action"]))


def test_the_tag_that_the_policy_asks_for_is_the_one_that_terraform_sets(terraform: Block) -> None:
    assert "".join(terraform.one("locals").attributes["managed"]) == '{sluice="managed"}'
