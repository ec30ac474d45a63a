"""Texts of every script in images: choice of fonts, warnings, line breaks and directions."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vsr_cli.errors import VsrError
from vsr_cli.report import fonts, storyboard
from vsr_cli.report.charts import fonts_for
from vsr_cli.report.entities import LONGEST, PLAIN, break_caption
from vsr_cli.report.fonts import base_font, font_of, name_font, script_of
from vsr_cli.report.story_page import _truncated
from vsr_cli.report.storyboard import (
    CAPTION_SIZE,
    LONGEST_CAPTION,
    PANEL_WIDTH,
    context_panel,
    draw_storyboard,
    load_font,
)
from vsr_cli.report.text_layout import break_lines, clusters, is_rtl, runs_of

WHITE = Image.new("RGB", (30, 20), "white")


def make_font(path: Path, letters: str, *, width: int = 1000) -> Path:
    """Make a font in which each of some letters is a bar across its whole width."""
    names = [".notdef", *(f"g{ord(letter):x}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"g{ord(letter):x}" for letter in letters})
    glyphs = {}
    for name in names:
        pen = TTGlyphPen(None)
        for at, corner in enumerate(((0, 0), (0, 200), (width, 200), (width, 0))):
            (pen.lineTo if at else pen.moveTo)(corner)
        pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (width, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture(autouse=True)
def no_system_fonts(monkeypatch):
    """Hide the fonts of the system."""

    def clear():
        name_font(None)
        fonts._found.clear()
        fonts._warned.clear()

    clear()
    monkeypatch.setattr(fonts, "font_files", tuple)
    monkeypatch.setattr(fonts.shutil, "which", lambda program: None)
    yield
    clear()


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(fonts, "warn", lines.append)
    return lines


def test_each_script_without_a_font_causes_one_warning(warnings):
    draw_storyboard([[context_panel(1, WHITE, "हिन्दी 我们 हम 🦊 ก 我")] * 2])
    assert len(warnings) == 4
    named = ("Devanagari (e.g. ह, U+0939)", "Chinese", "emoji (e.g. 🦊", "Thai")
    assert [part for part, line in zip(named, warnings, strict=True) if part not in line] == []
    assert all("--font FILE" in line and "fonts-noto" in line and "\n" not in line for line in warnings)


def test_letters_of_dejavu_cause_no_warning(warnings):
    draw_storyboard([[context_panel(1, WHITE, "Ève, Ελληνικά, русский, עברית, العربية… → ½ \x07")]])
    assert warnings == []
    assert font_of("é", "-Bold", "") == (base_font("-Bold"), 0)


@pytest.mark.parametrize("where", ["named", "folder"])
def test_a_system_font_or_a_named_one_draws_the_letters_it_has(tmp_path, warnings, monkeypatch, where):
    path = make_font(tmp_path / "NotoSansDevanagari-Regular.ttf", "हन")
    other = make_font(tmp_path / "Other.ttf", "ก")
    (tmp_path / "damaged.ttf").write_bytes(b"\0\1\0\0 damaged")
    if where == "named":
        name_font(path)
    else:
        monkeypatch.setattr(fonts, "font_files", lambda: (tmp_path / "damaged.ttf", other, path))
    assert font_of("ह", "", "") == (path, 0)
    assert font_of("a", "", "") == (base_font(""), 0)
    assert font_of("我", "", "") is None
    mixed = runs_of("ab हन c", [0] * 7, [""], size=20, rtl=False)
    assert [run.text for run in mixed] == ["ab ", "हन", " c"]
    assert mixed[1].width == 40
    assert load_font(20).getlength("हन") == 40
    dark = np.asarray(draw_storyboard([[context_panel(1, WHITE, "हहहह")]]).convert("L")) < 128
    assert dark.any(axis=0).sum() >= 4 * CAPTION_SIZE
    assert [line for line in warnings if "Devanagari" in line] == []


def test_a_named_file_that_is_no_font_is_one_line(tmp_path):
    (tmp_path / "x.ttf").write_bytes(b"text")
    for path in (tmp_path / "x.ttf", tmp_path / "none.ttf", tmp_path):
        with pytest.raises(VsrError, match=r"--font .* is not a readable font") as caught:
            name_font(path)
        assert "\n" not in str(caught.value)


def test_scripts_have_their_names():
    assert [script_of(letter) for letter in "ह我あ한ก🦊አع。"] == [
        "Devanagari", fonts.CJK, fonts.CJK, fonts.CJK, "Thai", fonts.EMOJI, "Ethiopic", "Arabic", fonts.CJK,
    ]  # fmt: skip


def test_charts_use_the_same_fonts(tmp_path, warnings):
    import matplotlib as mpl

    name_font(make_font(tmp_path / "Own.ttf", "我"))
    with fonts_for("我 and more"):
        assert mpl.rcParams["font.family"] == ["DejaVu Sans", "Own"]
    assert mpl.rcParams["font.family"] != ["DejaVu Sans", "Own"]
    assert warnings == []


# Lines


class Counting:
    """A font in which each character is a pixel wide, and which counts how many it was asked to measure."""

    def __init__(self) -> None:
        self.measured = 0

    def getlength(self, text: str) -> float:
        self.measured += len(text)
        return 10.0 * len(text)


@pytest.mark.parametrize(
    "text", ["我们在公园里看见一只小狗" * 5000, "a" * 60_000, "\u0301" * 60_000, "ส" * 9000, "ab " * 9000]
)
def test_wrapping_does_not_measure_text_that_is_not_shown(text):
    font = Counting()
    assert len(storyboard._wrap(text, font)) == LONGEST_CAPTION
    assert font.measured < 40 * LONGEST_CAPTION * PANEL_WIDTH / 10


@pytest.mark.parametrize("length", [1000, 8000])
def test_breaking_a_whole_text_is_linear(length):
    font = Counting()
    text = "我" * length
    lines = break_lines(text, lambda start, end: font.getlength(text[start:end]), width=300)
    assert "".join(text[start:end] for start, end in lines) == text
    assert font.measured < 20 * length


def test_a_long_name_is_truncated_efficiently():
    font = Counting()
    assert _truncated("x" * 100_000, font, 50) == "xxxx…"  # type: ignore[arg-type]
    assert _truncated("short", font, 50) == "short"  # type: ignore[arg-type]
    assert font.measured < 3 * LONGEST


def test_chinese_breaks_anywhere_but_not_before_a_full_stop():
    text = "我们在公园里看见一只小狗。Then it ran"
    lines = [text[start:end] for start, end in break_lines(text, lambda start, end: end - start, width=12)]
    assert lines == ["我们在公园里看见一只小", "狗。Then it", "ran"]


def test_thai_breaks_between_characters_with_their_marks():
    text = "สุนัขจิ้งจอกวิ่งข้ามเนินเขา"
    lines = [text[start:end] for start, end in break_lines(text, lambda start, end: end - start, width=5)]
    assert "".join(lines) == text
    assert "".join(map("".join, map(clusters, lines))) == text
    assert [cluster for line in lines for cluster in clusters(line)] == clusters(text)


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab 我。（ก\u0e31\u0301 \n🦊\u200d\ufe0fשع1")), st.integers(1, 9))
def test_no_letter_is_lost_and_lines_fit(text, width):
    lines = break_lines(text, lambda start, end: end - start, width=width)
    assert "".join("".join(text[start:end] for start, end in lines).split()) == "".join(text.split())
    assert all(end - start <= width or len(clusters(text[start:end])) == 1 for start, end in lines)


def test_styled_chinese_captions_break_anywhere():
    text = "我们" * 50_000
    caption = break_caption(text, [PLAIN] * len(text), width=PANEL_WIDTH)
    assert len(caption.text) == LONGEST + 2
    assert all(end - start <= PANEL_WIDTH / 5 for start, end in caption.lines)


# From right to left


def visual(text: str) -> list[str]:
    return [run.text for run in runs_of(text, [0] * len(text), [""], size=12, rtl=is_rtl(text))]


def test_runs_are_in_visual_order(monkeypatch):
    monkeypatch.setattr(fonts, "has_raqm", lambda: True)
    monkeypatch.setattr("vsr_cli.report.text_layout.has_raqm", lambda: True)
    assert visual("one שתים three") == ["one ", "שתים", " three"]
    assert visual("אחת two שלוש") == [" שלוש", "two", "אחת "]
    assert visual("אחת 12 שלוש") == [" שלוש", "12", "אחת "]
    assert visual("one אחת, שתים! two") == ["one ", "אחת, שתים", "! two"]
    assert is_rtl("… (אחת) two")
    assert not is_rtl("1: one אחת")


def test_without_raqm_letters_are_reordered_with_one_warning(monkeypatch, warnings):
    for module in (fonts, sys.modules["vsr_cli.report.text_layout"]):
        monkeypatch.setattr(module, "has_raqm", lambda: False)
    assert visual("אב ג") == ["ג בא"]
    assert visual("אב ג") == ["ג בא"]
    assert len(warnings) == 1
    assert "Hebrew" in warnings[0]
    draw_storyboard([[context_panel(1, WHITE, "אב ג 我 ab")]])


def test_a_right_to_left_line_is_right_aligned():
    def columns(text: str) -> np.ndarray:
        board = np.asarray(draw_storyboard([[context_panel(1, WHITE, text)]]).convert("L"))
        return np.flatnonzero((board[250:] < 128).any(axis=0))

    left, right = columns("abc"), columns("אבג")
    assert left.max() < storyboard.MARGIN + PANEL_WIDTH / 2
    assert right.min() > storyboard.MARGIN + PANEL_WIDTH / 2
    assert right.max() <= storyboard.MARGIN + PANEL_WIDTH
