from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr_cli.data.windows import Window, cut_windows, repeat_last

REASONS = ("missing_text", "missing_image", "unreadable_image", "truncated_image", "image_too_large")


def cut(problems, window="sliding", short="drop", context_frames=4):
    return cut_windows(problems, context_frames=context_frames, window=window, short_stories=short)


@pytest.mark.parametrize(
    ("window", "starts"), [("first", [0]), ("last", [3]), ("sliding", [0, 1, 2, 3])], ids=lambda value: str(value)
)
def test_windows_of_a_story_of_eight_frames(window, starts):
    found = cut([None] * 8, window)
    assert [item.frames for item in found.windows] == [tuple(range(start, start + 5)) for start in starts]
    assert not any(item.padded for item in found.windows)
    assert found.dropped == ()


@pytest.mark.parametrize("window", ["first", "sliding", "last"])
def test_a_story_of_five_frames_is_one_window(window):
    assert cut([None] * 5, window).windows == (Window((0, 1, 2, 3, 4)),)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("bad", range(5))
def test_invalid_frame_drops_the_window_with_a_reason(reason, bad):
    problems = [reason if index == bad else None for index in range(5)]
    assert cut(problems) == cut(problems, "first") == cut(problems, "last")
    assert cut(problems).windows == ()
    assert cut(problems).dropped == (reason,)


def test_invalid_frame_is_not_replaced_by_a_later_one():
    problems = [None, None, "missing_text", *[None] * 6]
    found = cut(problems)
    assert [item.frames[0] for item in found.windows] == [3, 4]
    assert found.dropped == ("missing_text",) * 3
    assert cut(problems, "first").windows == ()  # rather than the first five good ones
    assert cut(problems, "last").windows == (Window((4, 5, 6, 7, 8)),)


def test_first_invalid_frame_gives_the_reason():
    assert cut([None, "missing_image", "missing_text", None, None]).dropped == ("missing_image",)


@pytest.mark.parametrize("count", range(5))
def test_short_story_is_dropped(count):
    found = cut([None] * count)
    assert found.windows == ()
    assert found.dropped == ("story_too_short",)


@pytest.mark.parametrize(
    ("count", "frames"), [(2, (0, 0, 0, 0, 1)), (3, (0, 1, 1, 1, 2)), (4, (0, 1, 2, 2, 3))], ids=["2", "3", "4"]
)
@pytest.mark.parametrize("window", ["first", "sliding", "last"])
def test_a_padded_story_keeps_its_final_frame_as_the_target(window, count, frames):
    assert cut([None] * count, window, "pad").windows == (Window(frames, padded=True),)


@pytest.mark.parametrize("count", [0, 1])
def test_story_of_one_frame_is_never_padded(count):
    assert cut([None] * count, short="pad").dropped == ("story_too_short",)


def test_padding_does_not_hide_an_invalid_frame():
    assert cut([None, "missing_text", None], short="pad").dropped == ("missing_text",)


def test_long_enough_story_is_not_padded():
    assert cut([None, None, "missing_text", None, None], short="pad").windows == ()


@pytest.mark.parametrize("count", range(1, 5))
def test_filling_a_context_repeats_only_the_last_frame(count):
    filled = repeat_last(range(count), 4)
    assert filled == (*range(count), *[count - 1] * (4 - count))


@pytest.mark.parametrize("context_frames", [1, 2, 6])
def test_other_context_lengths(context_frames):
    length = context_frames + 1
    found = cut([None] * 8, context_frames=context_frames)
    assert [item.frames for item in found.windows] == [tuple(range(n, n + length)) for n in range(8 - context_frames)]
    assert cut([None] * context_frames, context_frames=context_frames).dropped == ("story_too_short",)
    padded = cut([None] * 2, "first", "pad", context_frames=context_frames).windows
    assert padded == (Window((*[0] * context_frames, 1), padded=context_frames > 1),)


@given(
    problems=st.lists(st.one_of(st.none(), st.none(), st.none(), st.sampled_from(REASONS)), max_size=14),
    window=st.sampled_from(["first", "sliding", "last"]),
    short=st.sampled_from(["drop", "pad"]),
)
def test_windows_are_valid_and_dropped_ones_counted(problems, window, short):
    found = cut(problems, window, short)
    for item in found.windows:
        assert len(item.frames) == 5
        assert all(problems[frame] is None for frame in item.frames)
        assert item.frames[-1] not in item.frames[:-1]
        if item.padded:
            assert short == "pad"
            assert len(problems) < 5
            assert sorted(set(item.frames)) == list(range(len(problems)))
        else:
            assert item.frames == tuple(range(item.frames[0], item.frames[0] + 5))
    assert len({item.frames for item in found.windows}) == len(found.windows)
    candidates = max(1, len(problems) - 4) if window == "sliding" else 1
    assert len(found.windows) + len(found.dropped) == candidates
    assert set(found.dropped) <= {*problems, "story_too_short"} - {None}
    if "story_too_short" in found.dropped:
        assert Counter(found.dropped) == {"story_too_short": 1}
