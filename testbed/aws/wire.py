"""AWS's wire protocols: a request becomes a call with its parameters, an answer or a refusal becomes bytes.

Why on decoded parameters: the gate checks and changes fields, and doing that on query strings, XML and JSON would be
three gates. moto's own codecs are used, driven by botocore's models, so any operation can be read and answered.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from aiohttp import web
from moto.core.parse import JSONParser, QueryParser, RestJSONParser
from moto.core.serialize import SerializationContext, get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.datastructures import Headers, MultiDict

if TYPE_CHECKING:
    from collections.abc import Mapping

Params = dict[str, Any]
"""Decoded parameters or a decoded answer, as boto3 shows them."""

SERVICES: Final = {  # as signatures name them → as botocore names them
    "elasticloadbalancing": "elbv2",
    "monitoring": "cloudwatch",
    "ecs": "ecs",
    "lambda": "lambda",
}
_IAM_PREFIX: Final = {"elbv2": "elasticloadbalancing"}
_PARSERS: Final = {"query": QueryParser, "json": JSONParser, "rest-json": RestJSONParser}
_SCOPE: Final = re.compile(r"Credential=[^/]+/[^/]+/([^/]+)/([^/]+)/aws4_request")


class Refusal(Exception):
    """An error that AWS answers with.

    Attributes:
        code: AWS's error code.
        message: its sentence.
        status: HTTP status.
        fields: more members of the error, by name.
    """

    def __init__(self, code: str, message: str, status: int = 400, **fields: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.fields = code, message, status, fields


@dataclass(frozen=True)
class Call:
    """One call of an operation.

    Attributes:
        service: as botocore names it.
        operation: as the API names it.
        params: decoded parameters.
        protocol: `query`, `json` or `rest-json`.
        region: from the signature.
    """

    service: str
    operation: str
    params: Params = field(default_factory=dict)
    protocol: str = "query"
    region: str = "us-east-1"

    @property
    def action(self) -> str:
        """As IAM names it: `elasticloadbalancing:ModifyRule`."""
        return f"{_IAM_PREFIX.get(self.service, self.service)}:{self.operation}"


@cache
def _model(service: str) -> Any:  # noqa: ANN401 - moto's model has no types
    return get_service_model(service)


@cache
def _rest_routes(service: str) -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    routes = []
    for name in _model(service).operation_names:
        http = _model(service).operation_model(name).http
        path = http["requestUri"].split("?")[0].rstrip("/")
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
        routes.append((http["method"], name, re.compile(pattern)))
    return tuple(routes)


def scope(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Region and service that a request was signed for, None for one that is not signed."""
    found = _SCOPE.search(headers.get("Authorization", ""))
    return (found[1], found[2]) if found else None


def decode(service: str, region: str, request: web.BaseRequest, body: bytes) -> Call:
    """Read a call.

    Raises:
        Refusal: no such operation, or it cannot be read.
    """
    values = MultiDict(parse_qsl(request.query_string, keep_blank_values=True))
    url_params: dict[str, str] = {}
    if target := request.headers.get("X-Amz-Target"):
        protocol, operation = "json", target.rpartition(".")[2]
    elif service == "lambda":
        protocol = "rest-json"
        path = request.rel_url.raw_path.rstrip("/")
        found = [
            (name, match)
            for method, name, pattern in _rest_routes(service)
            if method == request.method and (match := pattern.fullmatch(path))
        ]
        if not found:
            raise Refusal("UnknownOperationException", f"{request.method} {path} is not known", 404)
        operation, match = found[0]
        url_params = {name: unquote(value) for name, value in match.groupdict().items()}
    else:
        protocol = "query"
        values.update(parse_qsl(body.decode(), keep_blank_values=True))
        operation = values.get("Action", "")
    if operation not in _model(service).operation_names:
        raise Refusal("InvalidAction", f"Could not find operation {operation}")
    parser = _PARSERS[protocol](_model(service).operation_model(operation))
    headers = Headers(list(request.headers.items()))
    params = parser.parse(
        {
            "body": body,
            "headers": headers,
            "method": request.method,
            "url_params": url_params,
            "url_path": request.path,
            "values": values,
        }
    )
    return Call(service, operation, params, protocol, region)


def encode(call: Call, result: Params) -> web.Response:
    """Write an answer."""
    model = _model(call.service).operation_model(call.operation)
    serializer = get_serializer_class(call.service, call.protocol)(model, SerializationContext(str(uuid.uuid4())))
    raw = serializer.serialize(result)
    headers = {**raw["headers"], "x-amzn-RequestId": str(uuid.uuid4())}
    content = raw["body"].encode() if isinstance(raw["body"], str) else raw["body"]
    return web.Response(status=raw["status_code"], headers=headers, body=content)


def encode_refusal(call: Call, refusal: Refusal) -> web.Response:
    """Write a refusal in the shape of the call's protocol."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if call.protocol == "query":
        kind = "Sender" if refusal.status < 500 else "Receiver"
        text = (
            "<ErrorResponse>"
            f"<Error><Type>{kind}</Type><Code>{escape(refusal.code)}</Code>"
            f"<Message>{escape(refusal.message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return web.Response(status=refusal.status, text=text, content_type="text/xml", headers=headers)
    headers["x-amzn-ErrorType"] = refusal.code
    body = {"__type": refusal.code, "message": refusal.message, **refusal.fields}
    return web.json_response(body, status=refusal.status, headers=headers)
