"""The study of a search: its file."""

import pytest

from vsr_cli.tuning.folder import Tuning
from vsr_cli.tuning.space import parse_space
from vsr_cli.tuning.study import Study

SPACE = parse_space(["training.learning_rate=1e-4..1e-2:log"])


@pytest.mark.parametrize("name", ["a{b}", "a?b=c", "a%20b", "a#b c"])
def test_a_study_is_found_again_in_a_folder_of_any_name(tmp_path, name):
    tuning = Tuning(tmp_path / name)
    tuning.folder.mkdir()
    first = Study(tuning, SPACE, seed=0)
    trial = first.ask()
    first.tell(trial, 1.0, state="complete")
    again = Study(tuning, SPACE, seed=0)
    assert [each.params for each in again.trials()] == [trial.params]
    assert [path.name for path in tmp_path.glob("**/*.db")] == ["study.db"]
