"""Problems of stories that `vsr data lint` reports."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from vsr_cli.api import Frame, Note, Rejected, Story
from vsr_cli.data.lint import DEFECTS, NEAR, SEVERITIES, Problem, defect_of, lint

from ..memory_dataset import noise, noise_png, png, prepare_in_memory, with_frame

ROOT = Path(__file__).parents[2]
PLUGINS = sorted((ROOT / "plugins" / "vsr_plugins").rglob("*.py"))
CORE = [path for path in sorted((ROOT / "vsr_cli" / "data").glob("*.py")) if path.name != "defects.py"]
SIZE = (32, 32)
CODE = re.compile(r"[a-z]+(?:_[a-z]+)+")


def story(name, count=5, **facts):
    frames = [Frame(image=noise_png(*name.encode(), at, size=SIZE), text=f"{name}, frame {at}.") for at in range(count)]
    return Story(id=name, frames=tuple(frames), **facts)


def problems(folder, *stories, options=()) -> list[Problem]:
    defaults = ["data.image_size=32", "data.window=sliding", "data.test=0", "data.validation=0"]
    return list(lint(prepare_in_memory(folder / "out", *stories, assignments=[*defaults, *options])))


def found(problems):
    return {(problem.code, problem.story, problem.frame) for problem in problems}


def test_valid_stories_have_no_problem(tmp_path):
    assert problems(tmp_path, story("a", 9), story("b"), story("c", split="test")) == []


def test_each_lost_story_is_reported_once(tmp_path):
    source = with_frame(
        story("noted", notes=(Note(code="empty_text", detail="2.txt holds no text", frame=1),)), 1, text=None
    )
    listed = problems(
        tmp_path,
        story("good"),
        source,
        with_frame(story("silent", 12), 3, image=None),
        with_frame(story("damaged"), 4, image=b"no picture"),
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


def test_story_missing_in_the_split_file_is_a_note(tmp_path):
    (tmp_path / "splits.csv").write_text("story,split\na,train\n")
    options = [f"data.split_file={tmp_path / 'splits.csv'}", "data.split=file"]
    (problem,) = problems(tmp_path, story("a"), story("b"), options=options)
    assert (problem.code, problem.story, problem.severity) == ("not_in_split_file", "b", "note")


def test_notes_of_datasets_are_listed_and_unknown_codes_are_warnings(tmp_path):
    source = story("a", notes=(Note(code="odd_thing", detail="something odd", frame=2),))
    (problem,) = problems(tmp_path, source)
    assert problem.record() == {
        "code": "odd_thing",
        "severity": "warning",
        "story": "a",
        "frame": 2,
        "detail": "something odd",
    }


def test_targets_in_their_context_are_found(tmp_path):
    source = story("a", 8)
    source = with_frame(source, 5, text=source.frames[3].text)  # within four frames: a target that repeats an input
    source = with_frame(source, 7, image=source.frames[2].image)  # five apart: no window holds both
    assert found(problems(tmp_path, source)) == {
        ("target_text_in_context", "a", 5),
        ("repeated_text", "a", 5),
        ("repeated_image", "a", 7),
    }


def test_target_of_a_padded_window_has_its_index_in_the_story(tmp_path):
    source = with_frame(story("a", 3), 2, text="a, frame 0.")
    listed = problems(tmp_path, source, options=["data.short_stories=pad"])
    assert ("target_text_in_context", "a", 2) in found(listed)
    target = next(problem for problem in listed if problem.code == "target_text_in_context")
    assert "that of frame 1" in target.detail


def test_frames_without_text_or_image_are_no_repeats(tmp_path):
    source = with_frame(with_frame(story("a", 9), 0, image=None), 1, image=None)
    codes = {problem.code for problem in problems(tmp_path, source)}
    assert codes == {"missing_image", "windows_dropped"}


def alike(pixels, strength):
    """An image like another: a little of some noise is added."""
    mixed = pixels.astype(np.int64) + np.random.default_rng(7).integers(-strength, strength + 1, pixels.shape)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def test_images_shared_by_splits_or_similar_are_warnings(tmp_path):
    train, test, validation = story("t", split="train"), story("h", split="test"), story("v", split="validation")
    test = with_frame(test, 1, image=train.frames[3].image)
    test = with_frame(test, 2, image=png(alike(noise(*b"t", 4, size=SIZE), 3)))
    validation = with_frame(validation, 0, image=train.frames[0].image)
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


def test_repeated_shared_image_is_reported_once(tmp_path):
    shared = png(noise(1, size=SIZE))
    held = [with_frame(story(name, split="test"), 0, image=shared) for name in ("h", "i")]
    trained = [with_frame(story(name, split="train"), 2, image=shared) for name in ("t", "u")]
    (problem,) = problems(tmp_path, *trained, *held)
    assert (problem.code, problem.story, problem.frame) == ("duplicate_across_splits", "h", 0)


def test_similar_images_within_a_split_are_fine(tmp_path):
    shared = png(noise(1, size=SIZE))
    assert problems(tmp_path, *(with_frame(story(name), 0, image=shared) for name in "abc")) == []


def test_similarity_threshold_is_a_few_bits(tmp_path):
    train, test = story("t", split="train"), story("h", split="test")
    assert problems(tmp_path, train, with_frame(test, 2, image=png(alike(noise(*b"t", 4, size=SIZE), 250)))) == []
    assert 0 < NEAR < 10


def test_group_divided_by_the_source_is_a_warning(tmp_path):
    source = [story("a", split="train", group="g"), story("b", split="test", group="g"), story("c", split="train")]
    (problem,) = problems(tmp_path, *source)
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


def test_codes_in_source_files_are_found():
    codes = set().union(*map(codes_of, PLUGINS))
    # One of each way in which a code is written.
    assert {"no_pairs", "missing_image", "duplicate_text", "empty_text", "box_out_of_range", "unknown_id"} <= codes
    assert "truncated_image" in set().union(*map(codes_of, CORE))


REPORTING = [path for path in [*PLUGINS, *CORE] if codes_of(path)]


@pytest.mark.parametrize("path", REPORTING, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_reported_code_is_explained(path):
    assert codes_of(path) - DEFECTS.keys() == set()


def test_every_explained_code_is_reported():
    reported = set().union(*map(codes_of, [*PLUGINS, *CORE]))
    named = {literal for path in CORE for literal in re.findall(r'"([a-z_]+)"', path.read_text(encoding="utf-8"))}
    assert DEFECTS.keys() - reported - named == set()


def test_every_explanation_has_description_and_remedy():
    assert [code for code, defect in DEFECTS.items() if not re.fullmatch(r"[^;]+; [^;]+[^.;]", defect.meaning)] == []
    assert {defect.severity for defect in DEFECTS.values()} == set(SEVERITIES)
    assert defect_of("never_heard_of").severity == "warning"
