"""Which operations of AWS our adapters call, read from their source; as IAM names them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import botocore.session
from botocore import xform_name

ADAPTERS: Final = (
    "activities/routers/alb/*.py",
    "activities/routers/ecs/*.py",
    "activities/routers/lambda_alias.py",
)
_METHODS: Final = frozenset({"call", "pages", "recent"})  # of AwsClients
_IAM: Final = {"elbv2": "elasticloadbalancing"}


def files(root: Path) -> list[Path]:
    """Every source that may call AWS for a route."""
    return [file for pattern in ADAPTERS for file in sorted(root.glob(pattern))]


def actions(root: Path) -> set[str]:
    """The IAM action of every call.

    Raises:
        ValueError: a call whose operation is not written there as two words, or that AWS does not know; says where.
    """
    return {action for file in files(root) for action in _actions_of(file)}


def _actions_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in _METHODS:
            continue
        match node.args[:2]:
            case [ast.Constant(value=str(service)), ast.Constant(value=str(operation))]:
                yield _action(service, operation, f"{file.name}:{node.lineno}")
            case _:
                raise ValueError(
                    f"{file.name}:{node.lineno} calls AWS without saying which operation: {ast.unparse(node)}"
                )


def _action(service: str, operation: str, where: str) -> str:
    model = botocore.session.get_session().get_service_model(service)
    known = {xform_name(name): name for name in model.operation_names}
    if operation not in known:
        raise ValueError(f"{where}: {service} has no operation {operation}")
    return f"{_IAM.get(service, service)}:{known[operation]}"
