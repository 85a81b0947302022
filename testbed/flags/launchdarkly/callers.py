"""Who may ask: access tokens of the REST API, and what the log of changes calls their owners."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Caller:
    """An access token's owner.

    Attributes:
        name: of the token; a service token has no other name.
        email: of the person whose token it is; None for a service token.
        writes: whether it may change anything.
        sees_log: whether it may read the log of changes.
    """

    name: str
    email: str | None = None
    writes: bool = True
    sees_log: bool = True

    def shown(self, token: str) -> dict[str, Any]:
        """The part of a log entry that says who it was."""
        summary = {"_id": f"id-{self.name}", "name": self.name, "ending": token[-4:], "serviceToken": not self.email}
        if not self.email:
            return {"token": summary, "subject": {"name": self.name}}
        first, _, last = self.email.partition("@")[0].partition(".")
        member = {"_id": f"id-{first}", "email": self.email, "firstName": first.title(), "lastName": last.title()}
        return {"token": summary, "member": member, "subject": {"name": f"{first} {last}".title().strip()}}
