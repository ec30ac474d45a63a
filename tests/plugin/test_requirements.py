"""Requirements of a component are downloaded once, by vsr's own progress."""

from types import SimpleNamespace

import pytest

from vsr_cli.api import (
    Component,
    Options,
    Requirement,
    VsrError,
)
from vsr_cli.config.resolve import Choice
from vsr_cli.plugin import requirements
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.registry import Provided

FETCHED: list[str] = []


def lacks(options: Options) -> list[Requirement]:
    """What a third party's component lacks: two things that can be fetched."""
    return [
        Requirement(what=name, remedy="r", size=10, fetch=lambda report, name=name: (report(10), FETCHED.append(name)))
        for name in ("one", "two")
    ]


def breaks(options: Options) -> list[Requirement]:
    def fetch(report):
        raise OSError("the line went dead")

    return [Requirement(what="three", remedy="name a file", fetch=fetch)]


def choice(name: str) -> Choice:
    component = Component(name="theirs", summary="s", build="x:y", requires=f"{__name__}:{name}")
    return Choice(Provided("visual", component, "theirs", "theirs 1.0"), Options())


def test_third_party_requirements_are_downloaded_once(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, __name__, SimpleNamespace(lacks=lacks, breaks=breaks))
    FETCHED.clear()
    requirements.provide([("visual", choice("lacks")), ("visual", choice("lacks"))])
    assert FETCHED == ["one", "two"]
    assert "downloading once: visual encoder theirs: one" in capsys.readouterr().err
    with pytest.raises(VsrError) as error:
        requirements.provide([("visual", choice("breaks"))])
    assert str(error.value) == (
        "visual encoder theirs: three: cannot be downloaded (the line went dead); try again, or name a file"
    )
    FETCHED.clear()
    with pytest.raises(VsrError, match="known already"):
        requirements.provide([("visual", choice("lacks"))], mistakes=["known already"])
    assert FETCHED == []


def test_every_component_with_weights_declares_requirements():
    named = {"model", "weights"}
    lacking = [
        entry.component.name
        for entry in registry().provided
        if entry.section not in ("metrics", "dataset")
        and named & entry.component.options.model_fields.keys()
        and not entry.component.requires
    ]
    assert lacking == []
