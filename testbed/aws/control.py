"""The gate's own paths, called: faults, what was asked, somebody else's writes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S: Final = 30.0


class Control:
    """Speaks to a gate.

    Attributes:
        endpoint_url: the gate's address, without a slash at the end.
    """

    endpoint_url: str

    @cached_property
    def _http(self) -> httpx.Client:
        # One for all: making a client costs 20 ms of loading certificates that nobody needs here. No connection is
        # kept, so that there is nothing to close.
        none_kept = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(timeout=TIMEOUT_S, trust_env=False, limits=none_kept)

    def fault(self, **fields: object) -> None:
        """Change what goes wrong; see the package's docstring for the fields.

        Raises:
            ValueError: For a field that does not exist or a value that it cannot have.
        """
        self._ask("POST", "fault", json=fields)

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        self._ask("DELETE", "fault")

    def calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        """Calls seen by the gate, oldest first; of one operation if named."""
        found: list[dict[str, Any]] = self._ask("GET", "calls", params={"operation": operation} if operation else {})
        return found

    def forget_calls(self) -> None:
        """Remember no call."""
        self._ask("DELETE", "calls")

    def write_weights(self, rule_arn: str, weights: Mapping[str, int], sticky_s: int | None) -> None:
        """Write weights as another person would, past every fault.

        Raises:
            ValueError: For a rule or a group that does not exist.
        """
        self._ask("POST", "weights", json={"rule_arn": rule_arn, "weights": dict(weights), "sticky_s": sticky_s})

    def refresh(self) -> None:
        """Let the gate learn what was written past it, straight to moto."""
        self._ask("POST", "refresh")

    def _ask(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - decoded JSON
        answer = self._http.request(method, f"{self.endpoint_url}/-/{path}", **options)
        if answer.status_code == httpx.codes.BAD_REQUEST:
            raise ValueError(answer.json()["error"])
        return answer.raise_for_status().json()
