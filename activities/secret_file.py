"""Secrets in files of their own: read when they are needed, so that they may rotate, and never told.

Whatever is in such a file may be a secret, also when it is no key: errors name the file and nothing of its content.
"""

from pathlib import Path

from rollout.errors import RouterUnreachable

_PIECE = 8


def secret(file: Path, what: str) -> str:
    """What is in a file, without blanks around it.

    Args:
        file: which.
        what: is in there, for the message.

    Raises:
        RouterUnreachable: it cannot be read or holds no key; while keys are rotated that may be so for a moment.
    """
    try:
        found = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        found = ""
    if not found or not found.isprintable() or " " in found:
        raise RouterUnreachable(f"{file} cannot be read or holds no {what}") from None
    return found


def holds(text: str, token: str) -> bool:
    """Whether a text tells a token, or enough of it to matter: whoever wrote the text may have cut it."""
    length = min(_PIECE, len(token))
    return any(token[at : at + length] in text for at in range(len(token) - length + 1))


def without(authorization: str | None, words: str) -> str:
    """What somebody said, without the token that it was sent; nothing of it if a part is left, because it was cut.

    Args:
        authorization: the value of the header Authorization; None if there was none.
        words: what it said.
    """
    token = (authorization or "").removeprefix("Bearer ")
    if not token:
        return words
    said = words.replace(token, "…")
    return "it answers with the token that it was sent, so its words are not shown" if holds(said, token) else said
