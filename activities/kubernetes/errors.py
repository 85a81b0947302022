"""What the API server and its client call a failure, in our tree; decided by the HTTP status and the Status object.

A conflict is a class of its own: adapters read again and decide anew, they never send the same patch again.
"""

import json
import re
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from rollout.errors import Misconfigured, NotPermitted, RouteRejected, RouterUnreachable, SluiceError, Throttled

# An admission webhook chooses its status itself, 403 unless it says otherwise: only its words tell it from RBAC.
_DENIED = re.compile(r"^admission webhook .* denied the request|ValidatingAdmissionPolicy .* denied request")
_NO_KIND = "404 page not found"  # the whole answer about a group that the API server does not serve


class Conflict(RouterUnreachable):
    """Somebody else changed the object since it was read; nothing was written.

    Attributes:
        owners: field managers that the API server names, if it names any.
    """

    owners: tuple[str, ...] = ()


class Absent(Misconfigured):
    """There is no such object."""


def named(error: Exception, what: str, timeout_s: float) -> SluiceError:
    """The same failure in our tree.

    Args:
        error: what the client raised.
        what: what was asked, for the sentence: `get Deployment shop/checkout`.
        timeout_s: how long it had, seconds.
    """
    if not isinstance(error, ApiException):
        kind = "within " + f"{timeout_s:g} s" if isinstance(error, TimeoutError) else f"({_reason(error)})"
        return RouterUnreachable(f"the Kubernetes API server did not answer {what} {kind}")
    status = int(error.status or 0)
    told = _status(error.body)
    said = _sentence(told.get("message") or error.reason or "")
    if 400 <= status < 500 and _DENIED.search(said):
        return RouteRejected(f"{what} was refused: {said}; nothing was written")
    match status:
        case 401:
            return NotPermitted(
                f"the Kubernetes API server does not accept the worker's credentials for {what}; renew them"
            )
        case 403:
            # Quotas and admission refuse by the same number, and no rule would help there.
            hint = "; see deploy/kubernetes for the rule that is missing" if " cannot " in said else ""
            return NotPermitted(f"{what} is not allowed: {said}{hint}")
        case 404:
            return _missing(error, told, what, said)
        case 409:
            found = Conflict(f"{what}: {said}")
            found.owners = _owners(told)
            return found
        case 429:
            return Throttled(f"{what}: asked too often ({said})")
        case _ if status >= 500 or status in {0, 408}:
            return RouterUnreachable(f"{what} failed in the Kubernetes API server ({status} {said})")
    return Misconfigured(f"{what} was refused ({status}): {said}")


def _missing(error: ApiException, told: dict[str, Any], what: str, said: str) -> SluiceError:
    if (told.get("details") or {}).get("name"):
        return Absent(f"{what}: {said}")
    if told or str(error.body or "").strip() == _NO_KIND:
        return Misconfigured(f"{what}: this cluster does not know the kind; are its CRDs installed?")
    return RouterUnreachable(f"{what}: somebody else than the API server answers (404 {said})")


def _status(body: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever stands between us and the server answers
    try:
        found = json.loads(body)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _owners(told: dict[str, Any]) -> tuple[str, ...]:
    """Field managers named in the causes: `conflict with "gitops" using apps/v1`."""
    causes = (told.get("details") or {}).get("causes") or []
    words = (cause.get("message", "") for cause in causes if cause.get("reason") == "FieldManagerConflict")
    return tuple(sorted({each.split('"')[1] for each in words if each.count('"') >= 2}))


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", None) if isinstance(error, HTTPError) else None
    return f"{type(cause or error).__name__}: {_sentence(str(cause or error))}"


def _sentence(text: str) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= 300 else words[:300] + "…"
