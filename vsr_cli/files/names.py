"""Names as other people's files have them, compared as a reader would compare them."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path


def nfc(name: str) -> str:
    """Return the form in which names are compared: Unicode's composed form (NFC), as most keyboards write it.

    macOS and some archives decompose accents, Hangul and kana, so that one name has two spellings.
    """
    return unicodedata.normalize("NFC", _decoded(name))


def _decoded(name: str) -> str:
    """Decode a name from the file system as UTF-8 where the system's own encoding is another, such as ASCII."""
    if name.isprintable():
        return name  # a lone surrogate is not
    try:
        return name.encode(errors="surrogateescape").decode(errors="surrogateescape")
    except UnicodeEncodeError:
        return name


def shown(name: str) -> str:
    r"""Return a file's name as it can be printed and stored.

    Bytes that are no UTF-8, which Python holds as lone surrogates, are written out: "caf\xe9".
    """
    escaped = (f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in _decoded(name))
    return "".join(escaped).encode(errors="backslashreplace").decode()


def own_name(path: Path) -> str:
    """Return what a file or folder is called where it stands: of a link its own name, not that of what it leads to."""
    return nfc(shown(path.resolve().name if path.name in ("", "..") else path.name))


def natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return a sort key that counts: "2" before "10". Names that differ only in case or zeros stay apart."""
    # Text and digits take turns, text first, so one never meets the other. Digits without zeros in front compare by
    # length first: int() refuses some thousands of them.
    parts = re.split(r"([0-9]+)", nfc(name).casefold())
    digits = [part.lstrip("0") for part in parts]
    return [(len(digits[at]), digits[at]) if at % 2 else part for at, part in enumerate(parts)], name
