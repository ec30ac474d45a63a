"""Errors of plugins and changes of shared state are attributed to the plugin."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vsr_cli.api import Component, Options
from vsr_cli.errors import PluginError, VsrError
from vsr_cli.plugin.discovery import GROUP, discover
from vsr_cli.plugin.faults import fault_of, naming_faults
from vsr_cli.plugin.loading import build
from vsr_cli.plugin.registry import Provided
from vsr_cli.plugin.shared_state import shared_state

CHANGES = {
    "default dtype": "torch.set_default_dtype(torch.float64)",
    "default device": "torch.set_default_device('meta')",
    "gradient mode": "torch.set_grad_enabled(not torch.is_grad_enabled())",
    "random seed": "torch.manual_seed(0)",
    "random seed, after draws": "torch.manual_seed(0); torch.rand(5); torch.randn(3)",
    "deterministic algorithms": "torch.use_deterministic_algorithms(True)",
    "number of threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "float32 precision": "torch.set_float32_matmul_precision('medium')",
    "anomaly detection": "torch.autograd.set_detect_anomaly(True)",
    "working folder": "os.chdir('/')",
    "sys.stdout": "sys.stdout = open(os.devnull, 'w')",
    "sys.stderr": "sys.stderr = open(os.devnull, 'w')",
    "handler of SIGINT": "signal.signal(signal.SIGINT, signal.SIG_IGN)",
}


def shared():
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.is_anomaly_enabled(),
        Path.cwd(),
        sys.stdout,
        sys.stderr,
        signal.getsignal(signal.SIGINT),
        torch.initial_seed(),
    )


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("seed", [0, 7])
def test_change_of_shared_state_is_named_and_undone(what, seed):
    torch.manual_seed(seed)
    before = shared()
    expected = torch.random.get_rng_state()
    words = rf"plugin mine changes .*{what.partition(',')[0]}"
    with pytest.raises(PluginError, match=words), shared_state("plugin mine"):
        exec(CHANGES[what], {"os": os, "signal": signal, "sys": sys, "torch": torch})
    assert shared() == before
    assert torch.random.get_rng_state().equal(expected)


def test_unchanged_shared_state_is_accepted():
    torch.manual_seed(3)
    plain = torch.rand(4)
    torch.manual_seed(3)
    with shared_state("plugin mine"):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(9)
        numbers = torch.rand(2)
    assert torch.cat([numbers, torch.rand(2)]).equal(plain)
    assert torch.initial_seed() == 3


def test_error_is_raised_and_changes_undone():
    before = shared()
    with pytest.raises(KeyError), shared_state("plugin mine"):
        {}[torch.set_default_dtype(torch.float64)]
    assert shared() == before


def test_plugin_that_imports_and_changes_torch_is_named():
    """In a process that has not imported torch: there is nothing to compare with but what torch begins with."""
    script = """
import sys
from vsr_cli.errors import PluginError
from vsr_cli.plugin.shared_state import shared_state
assert "torch" not in sys.modules
try:
    with shared_state("plugin mine"):
        import torch
        torch.set_default_dtype(torch.float64)
except PluginError as error:
    print(error, torch.get_default_dtype())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "plugin mine changes torch's default dtype" in done.stdout
    assert "torch.float32" in done.stdout


# While a component is built.

RAISES = {
    "raise RuntimeError('no licence')": "raised RuntimeError while it was built (model.py, line 4): no licence",
    "raise ValueError('two\\nlines')": "raised ValueError while it was built (model.py, line 4): two;",
    "sys.exit(0)": "ended the program (exit code 0) while it was built",
    "raise SystemExit('bye')": "ended the program (exit code bye) while it was built",
    "class Panic(BaseException): pass\n    raise Panic('as in Rust')": "raised Panic while it was built",
    "raise EOFError": "raised EOFError while it was built (model.py, line 4);",
    "raise StopIteration": "raised StopIteration while it was built",
    "class Mute(Exception):\n        def __str__(self): raise KeyError\n    raise Mute": "raised Mute while it was",
    "open('/nowhere/licence')": "raised FileNotFoundError while it was built",
    "def deeper(): return deeper()\n    deeper()": "raised RecursionError while it was built",
    "torch.set_default_dtype(torch.float64)": "changes torch's default dtype",
}


def plugin(folder: Path, name: str, build: str, *, head: str = "") -> Provided:
    home = folder / name
    home.mkdir()
    (home / "__init__.py").write_text("")
    (home / "model.py").write_text(f"import sys, os, torch{head}\n\ndef build(options, *context):\n    {build}\n")
    component = Component(name="mine", summary="x", build=f"{name}.model:build")
    importlib.invalidate_caches()
    return Provided("temporal", component, name, f"dist-{name} 1.2")


@pytest.mark.parametrize(("number", "does"), list(enumerate(RAISES)))
def test_errors_of_build_functions_name_the_plugin(tmp_path, monkeypatch, number, does):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"faulty_{number}"
    with pytest.raises(PluginError) as fault:
        build(plugin(tmp_path, name, does), Options())
    words = str(fault.value)
    assert words.startswith(f"temporal model 'mine' of plugin {name} (dist-{name} 1.2) ")
    assert RAISES[does] in words
    assert "\n" not in words
    assert torch.get_default_dtype() is torch.float32


def test_module_with_a_syntax_error_is_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"'mine' of plugin uncompiled .* raised SyntaxError while it was built"):
        build(plugin(tmp_path, "uncompiled", "pass", head="\n)("), Options())


@pytest.mark.parametrize(
    ("number", "does", "kind"),
    [
        (0, "from vsr_cli.api import VsrError; raise VsrError('option x: no')", VsrError),
        (1, "raise KeyboardInterrupt", KeyboardInterrupt),
        (2, "raise MemoryError", MemoryError),
        (3, "raise OSError(28, 'No space left on device')", OSError),
        (4, "raise torch.OutOfMemoryError('CUDA out of memory')", torch.OutOfMemoryError),
        (5, "torch.empty(2**60, dtype=torch.uint8)", RuntimeError),
        (6, "torch.empty(2**40, 2**40)", RuntimeError),
    ],
)
def test_other_errors_are_not_attributed_to_the_plugin(tmp_path, monkeypatch, number, does, kind):
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(kind):
        build(plugin(tmp_path, f"faultless_{number}", does), Options())


def test_errors_of_vsr_are_not_attributed_to_the_plugin(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    from vsr_cli.escaping import visible

    entry = plugin(tmp_path, "caller", "context[0]()")
    with pytest.raises(TypeError):
        build(entry, Options(), lambda: visible(1))
    with pytest.raises(PluginError):
        build(entry, Options(), 3)


def test_later_error_is_attributed_by_its_traceback(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    made = build(plugin(tmp_path, "later", "return lambda of: {}[of]"), Options())
    with pytest.raises(PluginError) as fault, naming_faults():
        made("key")
    assert str(fault.value).startswith(
        "plugin later (dist-later 1.2) raised KeyError in <lambda> (model.py, line 4): there is no 'key'; "
    )
    with pytest.raises(KeyError), naming_faults():
        {}["of nobody's"]
    assert fault_of(KeyError("never raised")) is None


# While plugins are discovered.


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("class Panic(BaseException): pass\nraise Panic('as in Rust')", "Panic: as in Rust"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("import torch; torch.set_default_dtype(torch.float64)", "changes torch's default dtype"),
        ("import os; os.chdir('/')", "changes the working folder"),
        ("raise GeneratorExit", "GeneratorExit"),
    ],
    ids=["panic", "exit", "dtype", "folder", "generator"],
)
def test_errors_during_discovery_exclude_the_plugin(tmp_path, monkeypatch, body, words):
    from importlib.metadata import EntryPoint

    monkeypatch.syspath_prepend(tmp_path)
    name = f"discovered_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(
        f"{body}\nfrom vsr_cli.api import Component, hookimpl\n@hookimpl\ndef vsr_fusions():\n"
        "    return [Component(name='x', summary='x', build='x:y')]\n"
    )
    before = shared()
    (broken,) = discover([EntryPoint(name, name, GROUP)], disabled=set()).broken
    assert words in broken.reason
    assert shared() == before


def test_interruption_is_not_attributed_to_a_plugin(tmp_path, monkeypatch):
    from importlib.metadata import EntryPoint

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pressed.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        discover([EntryPoint("pressed", "pressed", GROUP)], disabled=set())
