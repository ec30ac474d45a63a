"""Show the characters that would otherwise act on a terminal or change how a line reads."""

from __future__ import annotations

import io
import re
import sys

# C0, DEL and C1 controls; line and paragraph separators; bidirectional embeddings, overrides and isolates; lone
# surrogates, which stand in a file name for bytes that are not UTF-8.
_ACTING = "\\x00-\\x1f\\x7f-\\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_ANY = re.compile(f"[{_ACTING}]")
_BUT_LINES = re.compile(f"[{_ACTING}]".replace("\\x00-\\x1f", "\\x00-\\x08\\x0b-\\x1f"))
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def tolerate_encodings() -> None:
    r"""Let stdout and stderr write an escape, such as \u6211, for a character that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")


def visible(text: str) -> str:
    r"""Return a text with each character that acts rather than shows as an escape: `\x1b`, `\n`, `\u202e`.

    What other people name or write (stories, captions, plugins, runs, files) passes through here before it is shown,
    so that it can neither command a terminal nor pretend to be a line of ours.
    """
    return _ANY.sub(_escaped, text)


def visible_lines(text: str) -> str:
    """Return a text like `visible` does, but with its line ends and tabs as they are."""
    return _BUT_LINES.sub(_escaped, text)


def visible_json(text: str) -> str:
    r"""Return JSON with each such character written as JSON does, `\u001b`: it means the same."""
    return _BUT_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT.get(found[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
