"""Surveys: what a dataset knows of its source without reading stories."""

from pathlib import Path

import pytest

from vsr_cli.api import HasSurvey, Options, Survey, VsrError
from vsr_plugins.datasets import StoryWorldOptions
from vsr_plugins.datasets.folder import build as folder
from vsr_plugins.datasets.jsonl import build as jsonl
from vsr_plugins.datasets.storyworld.reader import build as storyworld


def survey(dataset: object, source: Path | None) -> Survey:
    assert isinstance(dataset, HasSurvey)
    return dataset.survey(None if source is None else str(source))


def test_folder_survey_counts_story_folders(tmp_path: Path) -> None:
    for name in ("a", "b", "empty", ".hidden"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        (tmp_path / name / "1.txt").write_text("Once.")
    found = survey(folder(Options()), tmp_path)
    assert found == Survey(stories=3)
    assert len(list(folder(Options()).read(str(tmp_path)))) == 3
    with pytest.raises(VsrError, match="no such folder"):
        survey(folder(Options()), tmp_path / "none")


def test_jsonl_survey_counts_lines(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"frames": []}\n\n  \nnot json\n{"frames": []}')
    assert survey(jsonl(Options()), path) == Survey(stories=3)
    assert len(list(jsonl(Options()).read(str(path)))) == 3
    with pytest.raises(VsrError, match="no such file"):
        survey(jsonl(Options()), tmp_path / "none")


def test_storyworld_state_depends_on_every_option() -> None:
    plain = survey(storyworld(StoryWorldOptions()), None)
    assert (plain.stories, plain) == (400, survey(storyworld(StoryWorldOptions()), None))
    changed = [{"stories": 399}, {"seed": 1}, {"width": 481}, {"height": 209}]
    states = {survey(storyworld(StoryWorldOptions.model_validate(options)), None).state for options in changed}
    assert len(states | {plain.state}) == 5
    assert None not in states
