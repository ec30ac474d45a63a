"""Two runs on one page."""

from .test_page import SECONDS, boards, drop_story


def test_two_runs_stand_side_by_side(models, story, browser, comparison):
    browser.open(comparison)
    opened = browser.page
    opened.set_default_timeout(SECONDS)
    opened.get_by_role("button", name="Predict next frame").wait_for()
    drop_story(opened, story)
    opened.get_by_role("button", name="Predict next frame").click()
    opened.wait_for_function("document.querySelectorAll('.board').length === 2")
    for board, model in zip(boards(opened), models, strict=True):
        assert f"frame 5, predicted: {model.predict(story).text}" in board
    assert opened.get_by_role("button", name="Use this text").count() == 1
    left, right = opened.evaluate(
        "[...document.querySelectorAll('.board')].map(e => e.getBoundingClientRect().toJSON())"
    )
    assert left["y"] == right["y"]
    assert left["right"] <= right["left"]
