"""Animations: every frame in order, all of one size, each shown as long as its text needs."""

import pytest
from PIL import Image

from vsr_cli.report.animation import LONGEST, SHORTEST, animation_frames, save_gif, save_mp4
from vsr_cli.report.storyboard import context_panel, story_panel


@pytest.fixture(scope="module")
def frames():
    wide, tall = Image.new("RGB", (60, 20), "red"), Image.new("RGB", (20, 33), "blue")
    panels = [context_panel(1, wide, "Short."), story_panel(2, tall, "A long text of many words. " * 30)]
    return animation_frames(panels)


def test_frames_have_one_even_size_and_long_texts_are_shown_longer(frames):
    (size,) = {frame.image.size for frame in frames}
    assert [side % 2 for side in size] == [0, 0]
    assert [frame.seconds for frame in frames] == [SHORTEST, LONGEST]


def test_a_gif_holds_every_frame_and_its_duration(frames, tmp_path):
    save_gif(frames, tmp_path / "story.gif")
    with Image.open(tmp_path / "story.gif") as animation:
        assert (animation.n_frames, animation.info["loop"]) == (2, 0)
        for index, frame in enumerate(frames):
            animation.seek(index)
            assert animation.info["duration"] == frame.seconds * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["story.gif"]


def test_an_mp4_is_as_long_as_its_frames(frames, tmp_path):
    import imageio_ffmpeg

    save_mp4(frames, tmp_path / "story.mp4")
    _, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "story.mp4"))
    assert seconds == pytest.approx(SHORTEST + LONGEST, abs=0.3)
    assert [path.name for path in tmp_path.iterdir()] == ["story.mp4"]
