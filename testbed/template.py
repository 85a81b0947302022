"""An operator's text with other addresses, ports and paths in it.

Why a text must hold all that is to be replaced: the examples in `deploy` are what people copy, so a bed that quietly
left a place as it is would prove another configuration than theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def render(text: str, replaced: Mapping[str, str]) -> str:
    """Replace what is of one machine.

    Args:
        text: An operator's file.
        replaced: What to replace by what, one after the other; each must be there when its turn comes.

    Returns:
        The new text.

    Raises:
        KeyError: When one is not there.
    """
    for old, new in replaced.items():
        if old not in text:
            raise KeyError(old)
        text = text.replace(old, new)
    return text
