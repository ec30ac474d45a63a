"""What counts as a word, and what as no text at all, in every script.

Light: the `regex` library, which knows Unicode's properties, is imported at the first text that is not ASCII.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regex import Pattern

ASCII_VISIBLE = re.compile(r"[!-~]")


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: white space, control characters and invisible ones (U+200B, U+3164, ...)."""
    visible = ASCII_VISIBLE if text.isascii() else _visible()
    return visible.search(text) is None


@cache
def _visible() -> Pattern[str]:
    import regex

    # Format characters (Cf) are invisible but for a few that enclose or precede digits (Prepended_Concatenation_Mark).
    # U+2800 is the braille pattern without a dot.
    return regex.compile(
        r"[[^\s\p{Z}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800]--[\p{Cf}--\p{Prepended_Concatenation_Mark}]]",
        regex.VERSION1,
    )
