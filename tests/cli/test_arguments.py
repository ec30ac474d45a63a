"""Paths that begin with "~" in arguments, options, settings and the environment."""

import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vsr_cli.cli.arguments import as_path, as_source
from vsr_cli.cli.main import command_line
from vsr_cli.cli.parsing.commands import expand_bundles, leaves
from vsr_cli.config.experiment import resolve_prepare
from vsr_cli.config.resolve import Layer, preset_layer
from vsr_cli.errors import VsrError
from vsr_cli.system_errors import cache_folder
from vsr_cli.workflows.settings import load_registry


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def parameters() -> Iterator[tuple[str, Any, Any]]:
    """Yield every parameter of every command: its name, its type, and its typer declaration."""

    for command in leaves(command_line()):
        function = expand_bundles(inspect.unwrap(command.callback))
        for name, hint in function.__annotations__.items():
            if typing.get_origin(hint) is typing.Annotated:
                kind, *metadata = typing.get_args(hint)
                yield f"{function.__module__}.{function.__name__}({name})", kind, metadata[0]


def test_every_path_parameter_expands_tilde():
    taken = [(where, info) for where, kind, info in parameters() if "Path" in str(kind)]
    assert len(taken) > 20
    assert [where for where, info in taken if info.parser is not as_path] == []
    sources = [info for where, _, info in parameters() if where.endswith("(source)")]
    assert len(sources) >= 3
    assert all(info.parser is as_source for info in sources)


@pytest.mark.parametrize("read", [as_path, as_source])
def test_path_in_the_home_folder_is_expanded(read, home):
    assert str(read("~/x y")) == str(home / "x y")
    assert str(read("~")) == str(home)
    for same in ("./~", "a/~/b", "x~", "story-reasoning"):
        assert Path(read(same)) == Path(same)
    with pytest.raises(
        VsrError, match=r"no home folder of ~nobody-at-all; write the whole path, or \./~nobody-at-all/x"
    ):
        read("~nobody-at-all/x")


def test_commands_do_not_create_a_tilde_folder(empty, vsr, home, write_story):
    write_story(home / "mine" / "s", 5)
    answer = vsr("data lint '~/mine' --json")
    assert answer.code in (0, 1), answer.err
    assert '"source": "' + str(home / "mine") in answer.out
    answer = vsr("plugins new metric mine '--out=~/there'")
    assert answer.code == 0, answer.err
    assert (home / "there").is_dir()
    answer = vsr("predict --run '~nobody-at-all/r' here")
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert list(empty.iterdir()) == [home]


def test_path_settings_are_expanded(home):
    def resolved(value: str) -> str:
        layers = [preset_layer("tiny"), Layer("--set", {"dataset": {"name": "vist", "images": value}})]
        return str(resolve_prepare(load_registry(), preset="tiny", layers=layers).dataset.options.images)  # type: ignore[attr-defined]

    assert resolved("~/photos") == str(home / "photos")
    assert resolved("photos/~") == "photos/~"
    with pytest.raises(VsrError, match="no home folder of ~nobody-at-all") as caught:
        resolved("~nobody-at-all/photos")
    assert "\n" not in str(caught.value)


def test_tilde_in_other_settings_is_literal():
    layers = [preset_layer("tiny"), Layer("--set", {"dataset": {"name": "csv", "text": "~"}})]
    assert resolve_prepare(load_registry(), preset="tiny", layers=layers).dataset.options.text == "~"  # type: ignore[attr-defined]


def test_cache_folder_is_expanded(monkeypatch, home):
    monkeypatch.setenv("VSR_CACHE", "~/cache")
    assert cache_folder() == home / "cache"
