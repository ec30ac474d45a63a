"""CSV files of groups and splits."""

import os
from pathlib import Path

import pytest

from vsr_cli.data.splits import SPLITS, read_groups, read_splits
from vsr_cli.errors import VsrError


@pytest.fixture
def written(tmp_path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def problem(call) -> str:
    with pytest.raises(VsrError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert "; " in message
    return message


def test_groups_are_read(written):
    path = written('﻿group, story ,year\n7,a,1999\n7,b\n\n,c,2000\n8,\n9,"d, e",\n 7 , a ,\n')
    assert read_groups(path) == {"a": "7", "b": "7", "d, e": "9"}


def test_groups_are_read_by_the_names_of_their_columns(written):
    path = written("series,book\n7,a\n9,b\n")
    assert read_groups(path, group="series", story="book") == {"a": "7", "b": "9"}


@pytest.mark.parametrize(
    "content",
    [
        "story;group\né;1\n",
        "sep=|\nstory|group\né|1\n",
        "Story , GROUP\ne\u0301,1\n",
        "story,group\né,1\n".encode("utf-16"),
        "story\tgroup\ré\t1\r".encode("utf-8-sig"),
    ],
)
def test_groups_are_read_from_other_csv_dialects(written, content):
    assert read_groups(written(content)) == {"é": "1"}


def test_splits_are_read(written):
    path = written("split,story\r\ntrain,1\r\ntest,2\r\n,\r\nvalidation,3\r\ntrain,1\r\n")
    assert read_splits(path, SPLITS) == {"1": "train", "2": "test", "3": "validation"}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("story,series\na,1\n", ["no column 'group'"]),
        ("story,groups\na,1\n", ["no column 'group'", "did you mean groups?"]),
        ("", ["no column 'story'", "known: none"]),
        ("story,group,group\na,1,2\n", ["two columns are called 'group'"]),
        ("story,group\na,1\nb,2\na,2\n", ["line 4", "'a' has two groups ('1', '2')"]),
        (b"story,group\na,\xff\n", ["UTF-8"]),
        ('"my\nstory",group\na,1\n', ["no column 'story'", "my story"]),
        ('story,group\n"a\nb",1\n"a\nb",2\n', ["has two groups"]),
        ('story,group\na,"b" c\n', ["line 2", "quotes do not match"]),
    ],
)
def test_invalid_group_csv_is_one_line(written, content, parts):
    path = written(content)
    message = problem(lambda: read_groups(path))
    assert str(path) in message
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("story,set\na,test\n", ["no column 'split'"]),
        ("story,split\na,train\nb,tests\n", ["line 3", "b", "'tests'", "did you mean test?"]),
        ("story,split\na,val\n", ["line 2", "'val'", "validation"]),
        ("story,split\na,\n", ["line 2", "a", "''"]),
        ("story,split\na\n", ["line 2", "a", "''"]),
        ("story,split\n,test\n", ["line 2", "names no story"]),
        ("story,split\na,test\na,train\n", ["line 3", "'a' has two splits (test, train)"]),
    ],
)
def test_invalid_split_file_is_one_line(written, content, parts):
    path = written(content)
    message = problem(lambda: read_splits(path, SPLITS))
    assert str(path) in message
    assert [part for part in parts if part not in message] == []


def test_unreadable_file_is_one_line(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / ("x" * 300), tmp_path / "a\0b"):
        assert str(tmp_path) in problem(lambda path=path: read_groups(path))
        assert str(tmp_path) in problem(lambda path=path: read_splits(path, SPLITS))


def test_named_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "groups.csv")
    assert "is a pipe" in problem(lambda: read_groups(tmp_path / "groups.csv"))
