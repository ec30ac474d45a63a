"""Names of files: Unicode normalization, natural order, and printing."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path


def nfc(name: str) -> str:
    """Return the composed form (NFC) of a name, in which names are compared.

    macOS and some archives decompose accents, Hangul and kana, so that a name has two spellings.
    """
    return unicodedata.normalize("NFC", _decoded(name))


def _decoded(name: str) -> str:
    """Decode a name from the file system as UTF-8 if the encoding of the system is another, such as ASCII."""
    if name.isprintable():
        return name  # a lone surrogate is not
    try:
        return name.encode(errors="surrogateescape").decode(errors="surrogateescape")
    except UnicodeEncodeError:
        return name


def shown(name: str) -> str:
    r"""Return the name of a file in a form that can be printed and stored.

    Bytes that are not UTF-8, which Python holds as lone surrogates, become escapes: "caf\xe9".
    """
    escaped = (f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in _decoded(name))
    return "".join(escaped).encode(errors="backslashreplace").decode()


def own_name(path: Path) -> str:
    """Return the name of a file or folder; of a link, its own name and not that of its target."""
    return nfc(shown(path.resolve().name if path.name in ("", "..") else path.name))


def natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return a sort key for natural order: "2" before "10". Names that differ only in case or zeros stay distinct."""
    # Text and digits alternate, text first, so that they are never compared. Digits without leading zeros compare by
    # length first, as int() refuses very long numbers.
    parts = re.split(r"([0-9]+)", nfc(name).casefold())
    digits = [part.lstrip("0") for part in parts]
    return [(len(digits[at]), digits[at]) if at % 2 else part for at, part in enumerate(parts)], name
