"""Discovery: broken and disabled plugins, duplicate and unknown names."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from vsr_cli.errors import VsrError
from vsr_cli.plugin import discovery
from vsr_cli.plugin.discovery import GROUP, discover

HEAD = "from vsr_cli.api import Component, Options, hookimpl\n"


def declaring(*names: str, hook: str = "vsr_temporal_models") -> str:
    """Write a sound plugin that declares components of these names."""
    listed = ", ".join(f"Component(name={name!r}, summary='sound', build='some.where:build')" for name in names)
    return f"{HEAD}@hookimpl\ndef {hook}():\n    return [{listed}]\n"


def answering(body: str, *, arguments: str = "", hook: str = "vsr_temporal_models") -> str:
    """Write a plugin whose hook does something else."""
    return f"{HEAD}@hookimpl\ndef {hook}({arguments}):\n    {body}\n"


@dataclass(frozen=True)
class Plugin:
    source: str | None
    """The module's text; None: there is no such module."""
    reason: str
    """A part of what must be said of it; empty for a plugin that is sound."""
    attribute: str = ""


SOUND = {
    "aaa_first": Plugin(declaring("first"), ""),
    "zzz_last": Plugin(declaring("latest"), ""),
}
BROKEN = {
    "absent_module": Plugin(None, "ModuleNotFoundError: No module named 'absent_module'"),
    "absent_attribute": Plugin(declaring("lost"), "AttributeError", attribute=":nothing.here"),
    "needs_more": Plugin(
        "import a_package_that_is_not_installed\n", "No module named 'a_package_that_is_not_installed'"
    ),
    "not_python": Plugin("def :\n", "SyntaxError"),
    "raises_at_import": Plugin(
        "raise RuntimeError('no [red]luck[/red]\\n  today')\n", "RuntimeError: no [red]luck[/red] today"
    ),
    "raises_nothing_to_say": Plugin("raise ValueError\n", "ValueError"),
    "exits_at_import": Plugin("import sys\nsys.exit('goodbye')\n", "SystemExit: goodbye"),
    "misspelt_hook": Plugin(
        declaring("lost", hook="vsr_temporal_model"),
        "unknown hook vsr_temporal_model; did you mean vsr_temporal_models",
    ),
    "one_misspelt_hook_of_two": Plugin(
        declaring("lost") + declaring("lost-too", hook="vsr_fusion"),
        "unknown hook vsr_fusion; did you mean vsr_fusions",
    ),
    "hook_with_arguments": Plugin(answering("return []", arguments="registry"), "PluginValidationError"),
    "hook_raises": Plugin(answering("raise KeyError('oh')"), "KeyError: 'oh'"),
    "hook_exits": Plugin(answering("raise SystemExit(0)"), "SystemExit: 0"),
    "hook_fails_halfway": Plugin(
        answering("yield Component(name='lost', summary='', build='some.where:build')\n    raise OSError('disk')"),
        "OSError: disk",
    ),
    "returns_none": Plugin(answering("return None"), "vsr_temporal_models returned None"),
    "returns_none_once_of_two": Plugin(
        declaring("lost") + answering("return None", hook="vsr_fusions"), "vsr_fusions returned None"
    ),
    "cannot_say_what_is_wrong": Plugin(
        "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Mute\n", "Mute"
    ),
    "returns_one_component": Plugin(
        answering("return Component(name='lost', summary='', build='some.where:build')"),
        "vsr_temporal_models returned Component, not a list",
    ),
    "returns_a_number": Plugin(answering("return 7"), "vsr_temporal_models returned int, not a list"),
    "returns_names": Plugin(answering("return ['lost']"), "vsr_temporal_models returned a str among its components"),
    "bad_name": Plugin(declaring("Not A Name"), "component name 'Not A Name'"),
    "bad_build_place": Plugin(
        answering("return [Component(name='lost', summary='', build='some/where.py')]"), "build 'some/where.py' is not"
    ),
    "options_of_another_class": Plugin(
        answering("return [Component(name='lost', summary='', build='a:b', options=dict)]"), "not a subclass of"
    ),
    "sound_and_broken": Plugin(
        declaring("lost") + answering("return 7", hook="vsr_fusions"), "vsr_fusions returned int"
    ),
    "empty_list": Plugin(answering("return []"), "declares no component"),
    "unmarked_hook": Plugin(declaring("lost").replace("@hookimpl\n", ""), "declares no component"),
}
TWINS = {
    "twin_one": Plugin(declaring("twin"), ""),
    "twin_two": Plugin(declaring("twin", "single"), ""),
}


def write(folder: Path, plugins: dict[str, Plugin]) -> list[EntryPoint]:
    """Write the plugins' modules and, as an installer would, a distribution that claims their entry points."""
    for name, plugin in plugins.items():
        if plugin.source is not None:
            (folder / f"{name}.py").write_text(plugin.source)
        info = folder / f"dist_{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}{plugin.attribute}\n")
    return [EntryPoint(name, name + plugin.attribute, GROUP) for name, plugin in plugins.items()]


@pytest.fixture
def plugin_folder(tmp_path, monkeypatch):
    """An importable folder whose modules are forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_plugin_does_not_hide_other_components(plugin_folder, name):
    found = discover(write(plugin_folder, {name: BROKEN[name], **SOUND}), disabled=set())
    assert [broken.plugin for broken in found.broken] == [name]
    assert BROKEN[name].reason in found.broken[0].reason
    assert "\n" not in found.broken[0].reason
    assert found.names("temporal") == ["first", "latest"]
    assert len(found.provided) == 2, "a plugin counts whole or not at all"


def test_disabled_plugin_is_not_imported(plugin_folder):
    found = discover(write(plugin_folder, {**BROKEN, **SOUND}), disabled={*BROKEN, "aaa_first", "no_such_plugin"})
    assert found.broken == ()
    assert found.names("temporal") == ["latest"]
    assert set(found.disabled) == {*BROKEN, "aaa_first"}
    assert not {*BROKEN, "aaa_first"} & sys.modules.keys()


def test_interruption_during_discovery_is_raised(plugin_folder):
    with pytest.raises(KeyboardInterrupt):
        discover(write(plugin_folder, {"stopped": Plugin("raise KeyboardInterrupt\n", "")}), disabled=set())


def test_duplicate_name_is_an_error_on_request(plugin_folder):
    found = discover(write(plugin_folder, {**TWINS, **SOUND}), disabled=set())
    assert found.broken == ()
    assert found.find("temporal", "single").plugin == "twin_two"
    with pytest.raises(VsrError) as caught:
        found.find("temporal", "twin")
    assert "twin_one" in str(caught.value)
    assert "twin_two" in str(caught.value)
    assert "VSR_DISABLE_PLUGINS=" in str(caught.value)
    assert {entry.plugin for entry in found.find_all("twin")} == {"twin_one", "twin_two"}


def test_discovery_does_not_depend_on_order(plugin_folder):
    points = write(plugin_folder, {**TWINS, **SOUND, **BROKEN})
    assert discover(points, disabled=set()) == discover(points[::-1], disabled=set())


def test_kinds_may_share_a_name(plugin_folder):
    source = declaring("same") + declaring("same", hook="vsr_fusions")
    found = discover(write(plugin_folder, {"both": Plugin(source, "")}), disabled=set())
    assert found.find("temporal", "same").section == "temporal"
    assert found.find("fusion", "same").section == "fusion"
    assert [entry.section for entry in found.find_all("same")] == ["fusion", "temporal"]


def test_hook_may_return_a_generator(plugin_folder):
    source = answering("yield Component(name='lazy', summary='', build='some.where:build')")
    assert discover(write(plugin_folder, {"lazy": Plugin(source, "")}), disabled=set()).names("temporal") == ["lazy"]


@pytest.mark.parametrize(
    ("section", "name", "said"),
    [
        ("temporal", "gruu", "temporal model 'gruu': there is none of this name; did you mean gru"),
        ("temporal", "xyz", "there is none of this name; known: "),
        ("temporal", "gr", "did you mean gru"),  # no name is resolved by its beginning
        ("temporal", "GRU", "there is none of this name"),
        ("temporal", "concat", "(it is the name of a fusion)"),
        ("metrics", "resnet50", "(it is the name of a visual encoder)"),
    ],
)
def test_unknown_name_suggests_a_neighbor_or_its_kind(section, name, said):
    with pytest.raises(VsrError) as caught:
        discovery.registry().find(section, name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_name_suggests_across_kinds():
    with pytest.raises(VsrError, match="component 'resnet5': there is none of this name; did you mean resnet50"):
        discovery.registry().find_all("resnet5")


def test_missing_component_names_its_broken_plugin(plugin_folder):
    found = discover(write(plugin_folder, {"mean": Plugin("raise RuntimeError\n", "")}), disabled=set())
    with pytest.raises(VsrError, match="a plugin of this name is broken"):
        found.find("temporal", "mean")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with all of the plugins above, as installed packages lie in site-packages."""
    folder = tmp_path_factory.mktemp("site")
    write(folder, {**SOUND, **BROKEN, **TWINS})
    return folder


def vsr(site: Path, *words: str, disable: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "VSR_DISABLE_PLUGINS": disable,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in ("FORCE_COLOR", "COLUMNS"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", "vsr_cli", *words],
        env=environment,
        cwd=site,
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_line_warns_of_a_broken_plugin(installed):
    done = vsr(installed, "plugins", "list")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == len(BROKEN)
    for name, plugin in BROKEN.items():
        (line,) = [line for line in lines if f"plugin {name} (dist-{name} 1.2)" in line]
        assert line.startswith("warning: ")
        assert plugin.reason in line
    for name in ("first", "latest", "gru", "resnet50", "bleu"):
        assert f"\n{name} " in done.stdout
    assert "\nlost" not in done.stdout
    assert "Traceback" not in done.stderr


def test_disabled_plugins_are_listed_without_warning(installed):
    done = vsr(installed, "plugins", "list", "--json", disable=" , ".join([*BROKEN, "zzz_last", "temporal_models"]))
    assert done.returncode == 0
    assert done.stderr == ""
    listed = json.loads(done.stdout)
    assert listed["broken"] == []
    assert set(listed["disabled"]) == {*BROKEN, "zzz_last", "temporal_models"}
    temporal = {entry["name"]: entry for entry in listed["components"] if entry["kind"] == "temporal"}
    assert {"first", "twin", "single"} <= temporal.keys()
    assert not {"latest", "lost", "gru"} & temporal.keys()
    assert temporal["first"]["distribution"] == "dist-aaa_first 1.2"


def test_plugin_prints_do_not_reach_stdout(monkeypatch, tmp_path, capsys):
    (tmp_path / "talkative.py").write_text("print('hello there')\n" + declaring("loud"))
    monkeypatch.syspath_prepend(tmp_path)
    found = discover([EntryPoint("talkative", "talkative", GROUP)], disabled=set())
    assert found.names("temporal") == ["loud"]
    assert capsys.readouterr().out == ""


def test_duplicate_name_is_one_line_with_both_providers(installed):
    done = vsr(installed, "config", "show", "--temporal", "twin", disable=",".join(BROKEN))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "twin_one (dist-twin_one 1.2)" in line
    assert "twin_two (dist-twin_two 1.2)" in line
    assert vsr(installed, "config", "show", disable=",".join(BROKEN)).returncode == 0
