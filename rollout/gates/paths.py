"""Paths below a connection's base URL. A spec holds no address, so a path must not be able to become one."""

from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator, Field


def _below(path: str) -> str:
    if not path.startswith("/") or path.startswith("//"):
        msg = f"a path begins with one /, as in /healthz; the address belongs into the worker's settings, not {path!r}"
        raise ValueError(msg)
    plain = unquote(path.partition("?")[0])
    if not path.isascii() or not path.isprintable() or set(path) & set(" \\#") or not plain.isprintable():
        msg = f"{path!r} has characters that no URL has; write them as %20"
        raise ValueError(msg)
    if {".", ".."} & set(plain.replace("\\", "/").split("/")):
        msg = f"{path!r} leaves the connection's base URL"
        raise ValueError(msg)
    return path


Path = Annotated[str, Field(max_length=2000), AfterValidator(_below)]
"""An absolute path, perhaps with a query: `/healthz?deep=1`."""
