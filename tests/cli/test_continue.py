"""`vsr continue` on the run that `vsr train` made."""

import json
import sys
from pathlib import Path

import pytest

from ..folders import contents


def test_continue_writes_what_the_python_api_saves(workspace, vsr, write_story, tmp_path):
    import vsr_cli

    story = write_story(tmp_path / "story", 4)
    line = (
        f"continue {story} --steps 2 --decoding sample --seed 3 --alternatives 2 --pick 2 1 --out {tmp_path / 'next'}"
    )
    answer, shown = vsr(f"{line} --json"), vsr(line)
    assert (answer.code, shown.code) == (0, 0), answer.err + shown.err
    record = json.loads(answer.out)
    folder = tmp_path / "next/story/frames-5-6-sample-seed3-pick-2-1"
    assert record["folder"] == str(folder / "story")
    (run,) = (workspace / "runs").iterdir()
    model = vsr_cli.load(run)
    continued = model.continue_story(story, steps=2, alternatives=2, pick=[2, 1], method="sample", seed=3)
    continued.save(tmp_path / "python")
    ours, theirs = contents(tmp_path / "python"), contents(folder)
    assert ours.pop("continuation.json") != theirs.pop("continuation.json")  # they name other folders
    assert ours == theirs
    assert "frame 5:" in shown.out
    assert f"  2. {continued[0].text} (picked)" in shown.out
    assert f"vsr continue {folder / 'story'} --run runs/" in shown.err


def test_continuing_a_result_and_another_decoding_overwrite_nothing(workspace, vsr, write_story, tmp_path):
    story = write_story(tmp_path / "story", 4)
    records = []
    for words in ("--steps 1", "--steps 1 --from 3", "--steps 1 --decoding sample", "--steps 2"):
        answer = vsr(f"continue {story} --json --out {tmp_path / 'next'} {words}")
        assert answer.code == 0, answer.err
        records.append(json.loads(answer.out))
    answer = vsr(f"continue {records[0]['folder']} --steps 1 --json --out {tmp_path / 'next'}")
    records.append(json.loads(answer.out))
    names = [Path(record["folder"]).parent.name for record in records]
    assert names == ["frames-5-5", "frames-4-4", "frames-5-5-sample", "frames-5-6", "frames-6-6"]
    assert records[3]["steps"][1]["text"] == records[4]["steps"][0]["text"]
    assert [Path(record["folder"], "05.txt").exists() for record in records] == [True, False, True, True, True]
    assert vsr(f"predict {records[0]['folder']} --out {tmp_path / 'next'}").code == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("absent", "absent: there is no such folder"),
        ("{story} --from 5", "story: has no frame 5 to go on from; name one from 1 to 4"),
        ("{story} --steps 0", "'--steps'"),
        ("{story} --alternatives 2", "so all would be the same"),
        ("{story} --pick 2", "--pick 2: there is no such alternative; pick 1, or add --alternatives N"),
        ("{story} --decoding sample --steps 100 --alternatives 100", "10000 predictions; at most 400"),
        ("{story} --set decoding.beam=3", "did you mean beams?"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(workspace, vsr, write_story, tmp_path, words, part):
    story = write_story(tmp_path / "story", 4)
    answer = vsr(f"continue --out {tmp_path / 'next'} {words.format(story=story)}")
    assert answer.code == 2
    (error,) = answer.errors
    assert part in error
    assert not (tmp_path / "next").exists()


def test_a_video_without_its_package_is_refused_before_anything_is_predicted(
    workspace, vsr, write_story, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    answer = vsr(f"continue {write_story(tmp_path / 'story', 4)} --mp4 --out {tmp_path / 'next'}")
    assert (answer.code, answer.errors) == (
        2,
        ["--mp4: needs the package imageio-ffmpeg; run: pip install 'vsr-cli[video]'"],
    )
    assert not (tmp_path / "next").exists()
