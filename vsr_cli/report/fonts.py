"""Fonts for every script: DejaVu Sans from matplotlib, and system fonts for letters that it lacks."""

from __future__ import annotations

import shutil
import struct
import subprocess
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from PIL import ImageFont, features

from ..console import warn
from ..errors import VsrError, one_line

Style = Literal["", "-Bold", "-Oblique"]

LATIN_END = "\u0250"
"""Letters before it are Latin and always drawn in DejaVu Sans, which has bold and slanted ones."""
JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f\u20e3")
"""Characters that only change how their neighbours are drawn; few fonts list them."""
FACES = 8
"""How many faces of a collection (.ttc) are searched."""
MOST_FILES = 400
"""How many font files are searched where fontconfig is not installed."""
BITMAP_SIZES = (109, 160, 137, 136, 128, 96, 72, 64)
"""Sizes of fonts with coloured bitmaps (109: Noto Color Emoji; 160: Apple Color Emoji)."""

CJK, EMOJI = "Chinese, Japanese and Korean", "emoji"
_CJK_NAMES = frozenset(("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH"))
_PACKAGES = {CJK: "fonts-noto-cjk", EMOJI: "fonts-noto-color-emoji"}
_OTHER_PACKAGE = "fonts-noto-core"
_HINTS = {
    CJK: ("cjk", "pingfang", "hiragino", "msyh", "yahei", "simsun", "malgun", "meiryo", "wqy", "droidsansfallback"),
    EMOJI: ("emoji", "seguiemj"),
    "Devanagari": ("devanagari", "nirmala", "mangal", "kohinoor", "lohit"),
    "Thai": ("thai", "leelaw", "thonburi"),
    "Ethiopic": ("ethiopic", "ebrima", "kefa", "abyssinica"),
    "Arabic": ("arabic", "geeza", "segoeui"),
    "Hebrew": ("hebrew", "segoeui"),
}
"""Parts of the names of font files for a script, other than the script's own name."""


@dataclass(frozen=True)
class Face:
    """A font at a size, as Pillow draws it."""

    font: ImageFont.FreeTypeFont
    scale: float = 1.0
    """Factor for the drawn text: fonts of coloured bitmaps have one size only."""

    def length(self, text: str, *, direction: Literal["ltr", "rtl"] | None) -> float:
        """Return the width of a text of one direction, in pixels."""
        return self.font.getlength(text, direction=direction) * self.scale


@cache
def has_raqm() -> bool:
    """Return whether Pillow can shape letters that join and run from right to left."""
    return bool(features.check("raqm"))


_named: list[Path] = []


def name_font(path: Path | None) -> None:
    """Prefer a font file to those of the system; None for none. Raises VsrError if it cannot be read."""
    font_of.cache_clear()
    _named.clear()
    if path is None:
        return
    try:
        open_face(path, 0, BITMAP_SIZES[0])
        letters_of(path, 0)
    except OSError as error:
        raise VsrError(
            f"--font {path}: is not a readable font ({one_line(error)}); name a .ttf, .otf or .ttc"
        ) from error
    _named.append(path)


def script_of(letter: str) -> str:
    """Return the name of a letter's script."""
    name = unicodedata.name(letter, "")
    first = name.split(" ", 1)[0].split("-", 1)[0]
    if first in _CJK_NAMES:
        return CJK
    if is_emoji(letter):
        return EMOJI
    return first.title() or f"U+{ord(letter):04X}"


def is_emoji(cluster: str) -> bool:
    """Return whether a grapheme cluster is drawn as an emoji."""
    if "\ufe0e" in cluster:
        return False
    first = cluster[0]
    return "\ufe0f" in cluster or "\U0001f000" <= first <= "\U0001faff"


@cache
def letters_of(path: Path, face: int) -> frozenset[int]:
    """Return the characters that a font has. Raises OSError if it cannot be read."""
    from fontTools.ttLib import TTFont, TTLibError  # not at import: only letters beyond Latin need it

    try:
        with TTFont(path, fontNumber=face, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, struct.error, AssertionError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise OSError(f"its tables are damaged: {one_line(error)}") from error  # fontTools does not validate them


@cache
def base_font(style: Style) -> Path:
    """Return the file of DejaVu Sans: Pillow's own font has no letters beyond ASCII."""
    found = find_spec("matplotlib")  # only its folder is needed; importing it takes most of a second
    assert found
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf" / f"DejaVuSans{style}.ttf"


@cache
def open_face(path: Path, face: int, size: int) -> Face:
    """Open a font at a size, or at its only one. Raises OSError if it cannot be read."""
    for own in (size, *BITMAP_SIZES):
        try:
            return Face(ImageFont.truetype(path, own, index=face), size * 1.15 / own if own != size else 1.0)
        except OSError:
            if own == BITMAP_SIZES[-1]:
                raise
    raise AssertionError


def face_of(cluster: str, style: Style, size: int, language: str) -> Face:
    """Return a font that has a grapheme cluster, else DejaVu Sans, which draws a box.

    `language` is that of the surrounding text, "ja", "ko" or "", since Chinese characters look different in each.
    A script without a font causes one warning.
    """
    path, face = font_of(cluster, style, language) or (base_font(style), 0)
    return open_face(path, face, size)


@cache
def font_of(cluster: str, style: Style, language: str) -> tuple[Path, int] | None:
    """Return the file that `face_of` opens and the index of the face; None if no font has the cluster."""
    base = base_font(style)
    if all(letter < LATIN_END for letter in cluster):
        return base, 0
    needed = frozenset(ord(letter) for letter in cluster if letter not in JOINERS)
    own = [*_named] if is_emoji(cluster) else [*_named, base]
    for path in own:
        if needed <= letters_of(path, 0):
            return path, 0
    if found := system_font(cluster, language):
        return found
    if needed <= letters_of(base, 0):
        return base, 0
    _warn_missing(next(letter for letter in cluster if letter not in JOINERS))
    return None


_found: list[tuple[Path, int, str]] = []


def system_font(cluster: str, language: str) -> tuple[Path, int] | None:
    """Return a system font that has a grapheme cluster: its file and the index of the face."""
    needed = frozenset(ord(letter) for letter in cluster if letter not in JOINERS)
    script = EMOJI if is_emoji(cluster) else script_of(cluster[0])
    for path, face, of in _found:
        if of == f"{script} {language}" and needed <= letters_of(path, face):
            return path, face
    for path, face in _candidates(cluster, script, language):
        try:
            if needed <= letters_of(path, face):
                open_face(path, face, 16)
                _found.append((path, face, f"{script} {language}"))
                return path, face
        except OSError:
            continue  # a damaged font
    return None


def _candidates(cluster: str, script: str, language: str) -> list[tuple[Path, int]]:
    chosen = _by_fontconfig(cluster, script, language)
    hints = _HINTS.get(script, (script.lower().replace(" ", ""),))
    named = [path for path in font_files() if any(hint in path.name.lower() for hint in hints)]
    others = [path for path in font_files() if path not in named]
    faces = [(path, face) for path in named for face in (range(FACES) if path.suffix.lower() == ".ttc" else (0,))]
    return [*chosen, *faces, *((path, 0) for path in others[:MOST_FILES])]


def _by_fontconfig(cluster: str, script: str, language: str) -> list[tuple[Path, int]]:
    """Return the font that fontconfig would choose, where it is installed."""
    program = shutil.which("fc-match")
    if program is None:
        return []
    wanted = language or {CJK: "zh-cn", EMOJI: "und-zsye"}.get(script, "")
    codes = " ".join(f"{ord(letter):x}" for letter in cluster if letter not in JOINERS)
    pattern = f"sans-serif:charset={codes}" + (f":lang={wanted}" if wanted else "")
    try:
        output = subprocess.run(
            [program, "--format", "%{file}\n%{index}", pattern], capture_output=True, timeout=20, check=True, text=True
        ).stdout
        path, index = output.split("\n")
        return [(Path(path), int(index) & 0xFFFF)]  # the higher bits are the instance of a variable font
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


@cache
def font_files() -> tuple[Path, ...]:
    """Return the font files of the system, upright ones of normal weight first."""
    from matplotlib.font_manager import findSystemFonts  # only letters that DejaVu Sans lacks need it

    upright = ("regular", "normal")
    files = map(Path, findSystemFonts())
    return tuple(sorted(files, key=lambda path: (not path.stem.lower().endswith(upright), len(path.name), str(path))))


_warned: set[str] = set()


def _warn_missing(letter: str) -> None:
    """Warn once of a script without a font."""
    script = script_of(letter)
    if script in _warned:
        return
    _warned.add(script)
    package = _PACKAGES.get(script, _OTHER_PACKAGE)
    warn(
        f"no installed font has {script} (e.g. {letter}, U+{ord(letter):04X}), so images show boxes; install one "
        f"(e.g. {package} on Debian), or name one with --font FILE"
    )


def warn_unshaped(script: str) -> None:
    """Warn once that Pillow cannot shape a script whose letters join or run from right to left."""
    if script not in _warned and not has_raqm():
        _warned.add(script)
        warn(
            f"Pillow has no Raqm here, so in images the letters of {script} are not joined; install libfribidi0 (on "
            "Debian), and Pillow as a wheel"
        )
