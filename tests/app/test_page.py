"""The page in a real browser, at the width of a desktop and of a phone, with a keyboard, and without other hosts."""

import io
import json
import zipfile

import pytest
from PIL import Image

from .conftest import TEXTS

WIDTHS = [pytest.param(1280, id="desktop"), pytest.param(390, id="phone")]
SECONDS = 20_000


@pytest.fixture
def page(browser, address):
    """Open the page at some width: page(390)."""

    def open_page(width=1280):
        browser.open(address, width=width)
        browser.page.set_default_timeout(SECONDS)
        browser.page.get_by_role("button", name="Predict next frame").wait_for()
        return browser.page

    yield open_page
    hosts = {request.split("/")[2] for request in browser.requests if request.startswith(("http:", "https:", "ws"))}
    assert hosts == {address.split("/")[2]}
    assert [line for line in browser.complaints if "Content Security Policy" in line] == []


def drop(page, paths):
    """Drop files where several may be dropped at once."""
    page.locator(".drop input[type=file]").set_input_files([str(path) for path in paths])


def choose_own_story(page):
    page.get_by_label("Example story").click()
    page.get_by_role("option", name="Your own story").click()
    page.wait_for_function("document.querySelectorAll('.frame img').length === 0")


def drop_story(page, story):
    drop(page, sorted(story.iterdir()))
    page.wait_for_function(f"document.querySelectorAll('.frame textarea')[3].value === {json.dumps(TEXTS[3])}")


def boards(page):
    """Return the labels and texts of all storyboards on the page, one string each."""
    line = "`${frame.querySelector('b').textContent}: ${frame.querySelector('span').textContent}`"
    board = f"[...board.children].map(frame => {line}).join('; ')"
    return page.evaluate(f"[...document.querySelectorAll('.board')].map(board => {board})")


def wait_for_panels(page, count):
    page.wait_for_function(f"(document.querySelector('.board')?.children.length ?? 0) >= {count}")


def message(page):
    """Return what the page tells, once, and close it."""
    toast = page.get_by_test_id("toast-body")
    toast.first.wait_for()
    assert toast.count() == 1
    text = toast.first.get_by_test_id("toast-text").inner_text()
    toast.first.get_by_test_id("toast-close").click()
    toast.first.wait_for(state="detached")
    return text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_story_grows_by_alternatives_and_an_edit_and_is_downloaded(page, models, story, width):
    opened = page(width)
    drop_story(opened, story)
    opened.get_by_role("button", name="Predict next frame").click()
    wait_for_panels(opened, 5)
    expected = models[0].predict(story)
    assert f"frame 5, predicted: {expected.text}" in boards(opened)[0]
    opened.get_by_role("button", name="Show alternatives").click()
    wait_for_panels(opened, 6)
    opened.get_by_label("Prediction 3").check()
    opened.locator(".board .marked", has_text="prediction 3, picked").wait_for()
    pairs = [*zip(sorted(story.glob("*.png")), TEXTS, strict=True), (expected.image, expected.text)]
    third = models[0].predict(pairs, alternatives=4, method="sample").alternatives[2]
    assert f"frame 6, predicted: {third.text}" in boards(opened)[0]
    opened.get_by_label("Its text").fill("Ana sleeps.")
    opened.get_by_role("button", name="Redraw from this text").click()
    opened.locator(".board .marked", has_text="Ana sleeps.").wait_for()
    assert boards(opened)[0].endswith("frame 6, predicted: Ana sleeps.")
    with opened.expect_download() as downloading:
        opened.get_by_role("button", name="Download story (ZIP)").click()
    with zipfile.ZipFile(downloading.value.path()) as archive:
        assert archive.read("story/01.png") == (story / "01.png").read_bytes()
        assert archive.read("story/06.txt") == b"Ana sleeps.\n"
        image = Image.open(io.BytesIO(archive.read("story/06.png")))
        assert image.tobytes() == models[0].draw(pairs, "Ana sleeps.").tobytes()
        record = json.loads(archive.read("app.json"))
    assert [(frame["frame"], frame["edited"]) for frame in record["predicted"]] == [(5, False), (6, True)]
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_first_example_is_predicted_by_one_click(page, models):
    opened = page()
    given = [text.input_value() for text in opened.locator(".frame textarea").all()]
    opened.get_by_role("button", name="Predict next frame").click()
    wait_for_panels(opened, len(given) + 1)
    assert [f"frame {number}: {text}" for number, text in enumerate(given, 1)] == boards(opened)[0].split("; ")[:-1]


def test_a_story_is_predicted_with_the_keyboard_alone(page, browser):
    opened = page()

    def focus(name, *, key="Tab"):
        """Press Tab until an element of this name has the focus."""
        for _ in range(40):
            browser.press(key)
            named = "e => e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText || ''"
            if name in opened.evaluate(f"({named})(document.activeElement)"):
                return
        raise AssertionError(f"Tab does not reach {name}")

    example = opened.get_by_label("Text 4").input_value()
    for key, choice, expected in (("Tab", "ArrowDown", ""), ("Shift+Tab", "ArrowUp", example)):
        focus("Example story", key=key)
        browser.press(choice)
        browser.press("Enter")
        opened.wait_for_function(f"document.querySelectorAll('.frame textarea')[3].value === {json.dumps(expected)}")
    focus("Text 4")
    browser.press("Control+A")
    browser.type("Nobody comes home.")
    focus("Predict next frame")
    browser.press("Enter")
    wait_for_panels(opened, 5)
    assert "frame 4: Nobody comes home.; frame 5, predicted: " in boards(opened)[0]


def test_what_cannot_be_used_is_one_line(page, story, tmp_path):
    opened = page()
    choose_own_story(opened)
    (tmp_path / "notes.png").write_text("not an image")
    drop(opened, [*sorted(story.glob("0[1-3].png")), tmp_path / "notes.png"])
    assert message(opened).startswith("image 4 (notes.png): it is not an image of a supported format")
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    opened.locator(".frame input[type=file]").first.set_input_files(str(tmp_path / "huge.png"))
    assert message(opened).startswith("image 1 (huge.png): it has 9000 x 9000 pixels; resize it to at most 64")
    drop(opened, sorted(story.glob("0[1-3].*")))
    opened.wait_for_function("document.querySelectorAll('.frame img').length === 3")
    opened.get_by_label("Text 4").fill("And then?")
    opened.get_by_role("button", name="Predict next frame").click()
    assert message(opened) == "frame 4: it has no image; every frame needs an image and a text"
    assert boards(opened) == []


def test_a_short_story_is_predicted_with_a_warning(page, models, story):
    opened = page()
    drop(opened, sorted(story.glob("0[1-3].*")))
    opened.wait_for_function("document.querySelectorAll('.frame img').length === 3")
    opened.get_by_role("button", name="Predict next frame").click()
    assert message(opened) == "The story has 3 of 4 frames, so its last one is repeated."
    wait_for_panels(opened, 4)
    pairs = list(zip(sorted(story.glob("0[1-3].png")), TEXTS, strict=False))
    predicted = models[0].predict(pairs)
    assert f"frame 4, predicted: {predicted.text}" in boards(opened)[0]
    assert opened.locator(".board-area .caution").inner_text() == f"Note: {predicted.caution}"
