"""Tokens and headers stay where they are: in no error, no cause and no representation."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from activities.metrics.prometheus import PrometheusConnection
from rollout.errors import MetricsUnavailable, Misconfigured
from tests.activities.metrics.double import Double, Make, error, one

SECRET = "s3cr3t-t0ken"


@pytest.mark.parametrize(
    "content", [f"{SECRET}\nX-Other: {SECRET}", f"{SECRET} {SECRET}", f"{SECRET}\0", f"{SECRET}ü", ""]
)
async def test_a_token_file_that_holds_no_token_is_not_quoted(make: Make, tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    with pytest.raises(MetricsUnavailable, match="token") as unavailable:
        await one(make(token_file=tmp_path / "token"))
    assert told(unavailable.value).count(SECRET) == 0


async def test_a_missing_token_file_is_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(MetricsUnavailable, match="none"):
        await one(make(token_file=tmp_path / "none"))


@pytest.mark.parametrize("status", [200, 302, 400, 401, 503])
async def test_no_error_tells_a_secret(double: Double, make: Make, tmp_path: Path, status: int) -> None:
    (tmp_path / "token").write_text(SECRET, encoding="utf-8")
    double.status, double.body = status, error("bad_data", "no")
    source = make(token_file=tmp_path / "token", headers={"X-Key": SECRET})
    with pytest.raises((MetricsUnavailable, Misconfigured)) as failed:
        await one(source)
    assert double.asked[0].headers["X-Key"] == SECRET
    assert told(failed.value).count(SECRET) == 0


def told(error: BaseException | None) -> str:
    """What a failure says, causes included."""
    words = ""
    while error:
        words += f"{error!r} {error}\n"
        error = error.__cause__ or error.__context__
    return words


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": f"http://me:{SECRET}@127.0.0.1"},
        {"url": f"http://127.0.0.1/?token={SECRET}"},
        {"headers": {"X-Key": f"{SECRET}\nX-Other: 1"}},
        {"headers": {f"X Key {SECRET}": "1"}},
    ],
)
def test_a_connection_that_is_refused_does_not_quote_what_was_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        PrometheusConnection(**{"url": "http://127.0.0.1", **wrong})
    assert SECRET not in str(refused.value).replace(f"headers.X Key {SECRET}", "")


def test_a_connection_shows_no_header() -> None:
    assert SECRET not in repr(PrometheusConnection(url="http://127.0.0.1", headers={"X-Key": SECRET}))
