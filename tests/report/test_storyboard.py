"""Storyboard images, for images and texts of any size."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from vsr_cli.report import storyboard
from vsr_cli.report.storyboard import (
    ACCENT,
    CAPTION_SIZE,
    GAP,
    LONGEST_CAPTION,
    MARGIN,
    PANEL_WIDTH,
    PAPER,
    TALLEST,
    TRUTH,
    context_panel,
    draw_storyboard,
    predicted_panel,
    save_image,
    true_panel,
)

GREEN = Image.new("RGB", (90, 60), "#00aa00")
FONT = ImageFont.load_default(CAPTION_SIZE)


def rgb(colour: str) -> tuple[int, int, int]:
    return tuple(bytes.fromhex(colour[1:]))


def colours(board: Image.Image) -> set[tuple[int, int, int]]:
    return {colour for _, colour in board.getcolors(board.width * board.height)}


def story(image: Image.Image = GREEN, caption: str = "Ana waits.") -> list[storyboard.Panel]:
    return [*(context_panel(number, image, caption) for number in range(1, 5)), predicted_panel(image, caption)]


def test_a_story_is_four_frames_and_the_predicted_one_side_by_side():
    board = draw_storyboard([story()])
    assert board.mode == "RGB"
    assert board.width == 2 * MARGIN + 5 * PANEL_WIDTH + 4 * GAP


def test_only_the_predicted_and_the_actual_panel_are_marked():
    plain = colours(draw_storyboard([[context_panel(1, GREEN, "x")]]))
    assert rgb(ACCENT) not in plain
    assert rgb(TRUTH) not in plain
    board = draw_storyboard([story()])
    assert rgb(ACCENT) in colours(board)
    last = MARGIN + 4 * (PANEL_WIDTH + GAP)
    assert rgb(ACCENT) not in colours(board.crop((0, 0, last - 5, board.height)))
    assert rgb(TRUTH) in colours(draw_storyboard([[true_panel(GREEN, "x")]]))


def test_images_keep_their_proportions_and_tall_ones_are_narrower():
    assert storyboard.panel_size(Image.new("RGB", (600, 400))) == (PANEL_WIDTH, 200)
    assert storyboard.panel_size(Image.new("RGB", (10, 10))) == (PANEL_WIDTH, PANEL_WIDTH)
    width, height = storyboard.panel_size(Image.new("RGB", (100, 1000)))
    assert height == TALLEST * PANEL_WIDTH
    assert width == round(height / 10)
    assert storyboard.panel_size(Image.new("RGB", (5000, 1))) == (PANEL_WIDTH, 1)
    assert storyboard.panel_size(Image.new("RGB", (1, 5000)))[0] == 1


def test_extreme_images_make_no_extreme_storyboard():
    sizes = [(1, 4000), (4000, 1), (1, 1), (700, 900), (3, 2)]
    row = [context_panel(index, Image.new("RGB", size), "x") for index, size in enumerate(sizes)]
    assert draw_storyboard([row]).height < 600


def test_the_board_is_as_high_as_its_rows():
    one = draw_storyboard([story()])
    many = draw_storyboard([story()] * 12)
    row = one.height - 2 * MARGIN
    assert many.width == one.width
    assert many.height == 2 * MARGIN + 12 * row + 11 * 2 * GAP


def test_rows_of_different_lengths_fit_on_one_board():
    board = draw_storyboard([story(), [context_panel(1, GREEN, "alone")]])
    assert board.width == 2 * MARGIN + 5 * PANEL_WIDTH + 4 * GAP


@pytest.mark.parametrize("caption", ["", "   ", "\n\t\n"])
def test_an_empty_caption_leaves_blank_space(caption):
    board = draw_storyboard([[context_panel(1, GREEN, caption)]])
    below = MARGIN + 23 + 200 + 8
    assert colours(board.crop((0, below, board.width, board.height))) == {rgb(PAPER)}


def test_a_word_wider_than_a_panel_is_broken_without_loss():
    word = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
    lines = storyboard._wrap(f"the {word} again", FONT)
    assert "".join(lines).replace(" ", "") == f"the{word}again"
    assert max(map(FONT.getlength, lines)) <= PANEL_WIDTH


def test_a_very_long_caption_ends_with_an_ellipsis():
    lines = storyboard._wrap("and then they walked on " * 200, FONT)
    assert len(lines) == LONGEST_CAPTION
    assert lines[-1] == "…"


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300))
def test_lines_of_any_text_fit_the_panel(text):
    lines = storyboard._wrap(text, FONT)
    assert 1 <= len(lines) <= LONGEST_CAPTION
    assert max(map(FONT.getlength, lines)) <= PANEL_WIDTH
    if len(lines) < LONGEST_CAPTION:
        assert "".join(lines).replace(" ", "") == "".join(text.split())


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "CMYK"])
def test_images_of_any_mode_are_drawn(mode):
    draw_storyboard([[context_panel(1, GREEN.convert(mode), "x")]])


def test_equal_panels_make_equal_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        save_image(draw_storyboard([story()]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_an_image_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        save_image(GREEN, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
