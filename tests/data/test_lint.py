import ast
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vsr_cli.api import Frame, Note, Rejected, Story
from vsr_cli.config.experiment import resolve_prepare
from vsr_cli.config.resolve import Layer, parse_set
from vsr_cli.data.lint import DEFECTS, NEAR, SEVERITIES, Problem, defect_of, lint
from vsr_cli.data.preparation.prepare import prepare_stories
from vsr_cli.plugin.discovery import registry

ROOT = Path(__file__).parents[2]
PLUGINS = sorted((ROOT / "plugins" / "vsr_plugins").rglob("*.py"))
CORE = [path for path in sorted((ROOT / "vsr_cli" / "data").glob("*.py")) if path.name != "defects.py"]
CHOSEN = {"dataset": {"name": "storyworld"}, "visual": {"name": "tiny-cnn"}, "text": {"name": "tiny-text"}}
CODE = re.compile(r"[a-z]+(?:_[a-z]+)+")


class Fake:
    def __init__(self, *stories):
        self.stories = stories

    def read(self, source):
        yield from self.stories

    def describe(self, source):
        return {"source": "memory"}


def noise(*seed):
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def png(pixels):
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def story(name, count=5, **facts):
    frames = [Frame(image=png(noise(*name.encode(), at)), text=f"{name}, frame {at}.") for at in range(count)]
    return Story(id=name, frames=tuple(frames), **facts)


def change(told, index, **halves):
    frames = list(told.frames)
    frames[index] = replace(frames[index], **halves)
    return replace(told, frames=tuple(frames))


def problems(folder, *stories, options=()) -> list[Problem]:
    defaults = ["data.image_size=32", "data.window=sliding", "data.test=0", "data.validation=0"]
    layers = [Layer("test", CHOSEN), *parse_set([*defaults, *options])]
    config = resolve_prepare(registry(), preset="tiny", layers=layers)
    prepared, _ = prepare_stories(config, Fake(*stories), None, folder / "out")
    assert prepared is not None
    return list(lint(prepared))


def found(problems):
    return {(problem.code, problem.story, problem.frame) for problem in problems}


def test_good_stories_have_no_problem(tmp_path):
    assert problems(tmp_path, story("a", 9), story("b"), story("c", split="test")) == []


def test_what_is_left_out_is_reported_once(tmp_path):
    told = change(story("noted", notes=(Note(code="empty_text", detail="2.txt holds no text", frame=1),)), 1, text=None)
    listed = problems(
        tmp_path,
        story("good"),
        told,
        change(story("silent", 12), 3, image=None),
        change(story("damaged"), 4, image=b"no picture"),
        story("short", 4),
        story("good", 6),
        Rejected(where="stories/x", code="no_pairs", detail="holds no image and text with one stem"),
    )
    assert found(listed) == {
        ("empty_text", "noted", 1),
        ("story_dropped", "noted", None),
        ("missing_image", "silent", 3),
        ("windows_dropped", "silent", None),
        ("unreadable_image", "damaged", 4),
        ("story_dropped", "damaged", None),
        ("story_too_short", "short", None),
        ("duplicate_story_id", "good", None),
        ("no_pairs", "stories/x", None),
    }
    assert len(listed) == 9
    lost = next(problem for problem in listed if problem.code == "windows_dropped")
    assert lost.detail == "4 windows, for 1 of its 12 frames"


def test_a_story_that_the_split_file_does_not_name_is_a_note(tmp_path):
    (tmp_path / "splits.csv").write_text("story,split\na,train\n")
    options = [f"data.split_file={tmp_path / 'splits.csv'}", "data.split=file"]
    (problem,) = problems(tmp_path, story("a"), story("b"), options=options)
    assert (problem.code, problem.story, problem.severity) == ("not_in_split_file", "b", "note")


def test_notes_of_datasets_are_handed_on_as_they_are_and_unknown_codes_are_warnings(tmp_path):
    told = story("a", notes=(Note(code="odd_thing", detail="something odd", frame=2),))
    (problem,) = problems(tmp_path, told)
    assert problem.record() == {
        "code": "odd_thing",
        "severity": "warning",
        "story": "a",
        "frame": 2,
        "detail": "something odd",
    }


def test_targets_among_their_inputs_are_found_in_every_window(tmp_path):
    told = story("a", 8)
    told = change(told, 5, text=told.frames[3].text)  # within four frames: a target that repeats an input
    told = change(told, 7, image=told.frames[2].image)  # five apart: no window holds both
    assert found(problems(tmp_path, told)) == {
        ("target_text_in_context", "a", 5),
        ("repeated_text", "a", 5),
        ("repeated_image", "a", 7),
    }


def test_the_target_of_a_padded_window_is_named_by_its_place_in_the_story(tmp_path):
    told = change(story("a", 3), 2, text="a, frame 0.")
    listed = problems(tmp_path, told, options=["data.short_stories=pad"])
    assert ("target_text_in_context", "a", 2) in found(listed)
    target = next(problem for problem in listed if problem.code == "target_text_in_context")
    assert "that of frame 1" in target.detail


def test_frames_without_a_half_repeat_nothing(tmp_path):
    told = change(change(story("a", 9), 0, image=None), 1, image=None)
    codes = {problem.code for problem in problems(tmp_path, told)}
    assert codes == {"missing_image", "windows_dropped"}


def alike(pixels, strength):
    """An image like another: a little of some noise is added."""
    mixed = pixels.astype(np.int64) + np.random.default_rng(7).integers(-strength, strength + 1, pixels.shape)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def test_images_that_two_splits_share_or_that_look_alike_are_warnings(tmp_path):
    train, test, validation = story("t", split="train"), story("h", split="test"), story("v", split="validation")
    test = change(test, 1, image=train.frames[3].image)
    test = change(test, 2, image=png(alike(noise(*b"t", 4), 3)))
    validation = change(validation, 0, image=train.frames[0].image)
    listed = problems(tmp_path, train, test, validation)
    assert found(listed) == {
        ("duplicate_across_splits", "h", 1),
        ("near_duplicate_across_splits", "h", 2),
        ("duplicate_across_splits", "v", 0),
    }
    details = {problem.story + str(problem.frame): problem.detail for problem in listed}
    assert details["h1"] == "its image, in test, equals that of t, frame 4, in train"
    assert details["h2"] == "its image, in test, resembles that of t, frame 5, in train"
    assert {problem.severity for problem in listed} == {"warning"}


def test_an_image_that_a_split_has_many_times_is_reported_once(tmp_path):
    shared = png(noise(1))
    held = [change(story(name, split="test"), 0, image=shared) for name in ("h", "i")]
    trained = [change(story(name, split="train"), 2, image=shared) for name in ("t", "u")]
    (problem,) = problems(tmp_path, *trained, *held)
    assert (problem.code, problem.story, problem.frame) == ("duplicate_across_splits", "h", 0)


def test_pictures_of_one_split_may_be_alike(tmp_path):
    shared = png(noise(1))
    assert problems(tmp_path, *(change(story(name), 0, image=shared) for name in "abc")) == []


def test_how_alike_is_alike_is_a_matter_of_few_bits(tmp_path):
    train, test = story("t", split="train"), story("h", split="test")
    assert problems(tmp_path, train, change(test, 2, image=png(alike(noise(*b"t", 4), 250)))) == []
    assert 0 < NEAR < 10


def test_a_group_that_the_source_splits_is_a_warning(tmp_path):
    told = [story("a", split="train", group="g"), story("b", split="test", group="g"), story("c", split="train")]
    (problem,) = problems(tmp_path, *told)
    assert (problem.code, problem.story, problem.severity) == ("group_in_two_splits", "b", "warning")
    assert "group g" in problem.detail


# The table of codes is whole, true and printed.


def literals(node: ast.AST | None) -> set[str]:
    """Return the codes that an expression may be, where it says so itself."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return literals(node.body) | literals(node.orelse)
    if isinstance(node, ast.JoinedStr):
        pieces = ["".join(literals(piece)) or None for piece in node.values]
        return {"".join(piece or half for piece in pieces) for half in ("image", "text")}
    return set()


def codes_of(path: Path) -> set[str]:
    """Collect the codes that a plugin's or the core's file reports, and those that its docstrings list."""
    source = path.read_text(encoding="utf-8")
    codes: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("Note", "Rejected"):
                codes |= literals(next(word.value for word in node.keywords if word.arg == "code"))
            elif called in ("note", "_note", "refuse", "rejected", "Problem", "ImageProblem") and node.args:
                codes |= literals(node.args[0])
        elif isinstance(node, ast.Assign) and "code" in [ast.unparse(target) for target in node.targets]:
            codes |= literals(node.value)
    for listed in re.findall(r"Codes of (?:the|its) notes: (.*?)(?:\n\n|\"{3})", source, re.S):
        codes |= set(CODE.findall(re.sub(r"\(.*?\)", "", listed, flags=re.S)))
    return {code for code in codes if CODE.fullmatch(code)}


def test_the_codes_of_a_file_are_found():
    codes = set().union(*map(codes_of, PLUGINS))
    # One of each way in which a code is written.
    assert {"no_pairs", "missing_image", "duplicate_text", "empty_text", "box_out_of_range", "unknown_id"} <= codes
    assert "truncated_image" in set().union(*map(codes_of, CORE))


REPORTING = [path for path in [*PLUGINS, *CORE] if codes_of(path)]


@pytest.mark.parametrize("path", REPORTING, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_code_that_is_reported_is_explained(path):
    assert codes_of(path) - DEFECTS.keys() == set()


def test_no_code_is_explained_that_nothing_reports():
    reported = set().union(*map(codes_of, [*PLUGINS, *CORE]))
    named = {literal for path in CORE for literal in re.findall(r'"([a-z_]+)"', path.read_text(encoding="utf-8"))}
    assert DEFECTS.keys() - reported - named == set()


def test_every_explanation_says_what_it_is_and_what_to_do():
    assert [code for code, defect in DEFECTS.items() if not re.fullmatch(r"[^;]+; [^;]+[^.;]", defect.meaning)] == []
    assert {defect.severity for defect in DEFECTS.values()} == set(SEVERITIES)
    assert defect_of("never_heard_of").severity == "warning"
