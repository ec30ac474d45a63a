"""The study of a search: its file."""

import pytest

from vsr_cli.errors import VsrError
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


def test_runs_of_a_study_that_was_lost_are_not_taken_for_those_of_a_new_one(tmp_path):
    tuning = Tuning(tmp_path)
    trial = Study(tuning, SPACE, seed=0).ask()
    tuning.run(trial.number).mkdir(parents=True)
    assert len(Study(tuning, SPACE, seed=0).trials()) == 1
    tuning.study.unlink()
    with pytest.raises(VsrError, match="does not know trial-000"):
        Study(tuning, SPACE, seed=0)
