"""The invariants of ARCHITECTURE.md, checked on the source and by running commands."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest

from vsr_cli import api
from vsr_cli.plugin import hookspecs
from vsr_cli.plugin.discovery import GROUP, discover
from vsr_cli.plugin.kinds import KINDS

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "vsr_cli"
SHIPPED = ROOT / "plugins" / "vsr_plugins"
EXAMPLES = ROOT / "examples"
LESSON = ROOT / "docs" / "tutorial" / "plugin.md"
SOURCES = [path for folder in (PROGRAM, SHIPPED, EXAMPLES) for path in sorted(folder.rglob("*.py"))]
PLUGINS = [path for path in SOURCES if PROGRAM not in path.parents]
OURS = [point for point in entry_points(group=GROUP) if point.value.startswith("vsr_plugins.")]


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_of(path: Path) -> tuple[str, ...]:
    """Return a file's module, as ("vsr_cli", "api", "parts"), from the topmost folder that is a package."""
    top = path.parent
    while (top.parent / "__init__.py").exists():
        top = top.parent
    return path.relative_to(top.parent).with_suffix("").parts


def imported(path: Path) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Yield each import of a file, wherever it stands: the module, the names taken from it, the line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, (), node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = module_of(path)[: -node.level] if node.level else ()
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield module, tuple(alias.name for alias in node.names), node.lineno


# 1. Help, lists and mistakes answer without torch and transformers.

HEAVY = ("torch", "torchvision", "transformers", "accelerate", "datasets", "torchmetrics", "nltk", "sacrebleu")
RUN_ALL = """
import json, sys
from vsr_cli.cli.main import main
lines, heavy = map(json.loads, sys.argv[1:])
for words in lines:
    sys.argv = ["vsr", *words]
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    record = {"words": words, "code": code, "heavy": [name for name in heavy if name in sys.modules]}
    print(json.dumps(record), file=sys.stderr, flush=True)
"""
ANSWERS = [
    ["--help"],
    ["--version"],
    *([name, "--help"] for name in ("prepare", "train", "evaluate", "predict", "ablate", "demo", "plugins", "config")),
    *([*words, "--help"] for words in (["plugins", "list"], ["runs", "list"], ["runs", "show"], ["config", "show"])),
    ["plugins", "list"],
    ["plugins", "list", "--json"],
    ["runs", "list", "--json"],
    ["plugins", "show", "gru"],
    ["plugins", "check", "--help"],
    ["config", "show", "--preset", "reference"],
    ["config", "show", "--preset", "tiny", "--temporal", "lstm", "--set", "temporal.layers=2"],
]
MISTAKES = {
    ("train", "--temporal", "gruu"): ["temporal model 'gruu'", "did you mean gru?"],
    ("train", "--temporal", "concat"): ["it is the name of a fusion"],
    ("train", "--set", "temporal.layerz=2"): ["temporal model gru has no option 'layerz'; did you mean layers?"],
    ("train", "--set", "temporl.layers=2"): ["section 'temporl': unknown; did you mean temporal"],
    ("train", "--set", "training.epochs=many"): ["--set training.epochs=many", "valid integer"],
    ("train", "--epochs", "0"): ["--epochs 0", "greater than or equal to 1"],
    ("train", "--set", "epochs"): ["not of the form section.key=value"],
    ("train", "--set", "samples=3"): ["did you mean decoding.samples=3?"],
    ("train", "--preset", "referense"): ["preset 'referense'", "did you mean reference?"],
    ("train", "--config", "absent.toml"): ["absent.toml: there is no such file"],
    ("train", "--data", "absent"): ["absent"],
    ("train", "--no-such-flag", "1"): ["--no-such-flag"],
    ("prepare", "--dataset", "storyword"): ["dataset 'storyword'", "did you mean storyworld"],
    ("prepare", "--window", "all"): ["'--window'", "'all' is not one of 'first', 'sliding', 'last'"],
    ("prepare", "absent", "--preset", "tiny"): ["absent: there is no such folder"],
    ("evaluate", "--metrics", "blue"): ["metric 'blue'", "did you mean bleu?"],
    ("evaluate", "--metrics", "bleu", "--split", "train"): ["--allow-train"],
    ("evaluate", "--decoding", "beams"): [
        "'beams' is not one of 'greedy', 'beam', 'sample', 'mbr'",
        "did you mean beam?",
    ],
    ("evaluate", "--set", "decoding.beam=3"): ["decoding has no option 'beam'; did you mean beams?"],
    ("train", "--set", "decoding.beams=3"): ["greedy decoding does not use it", "set decoding.method=beam"],
    ("evaluate", "--run", "absent"): ["--run absent: there is no such folder"],
    ("ablate", "--temporal", "gru", "lstmm", "--preset", "tiny"): ["temporal model 'lstmm'", "did you mean lstm"],
    ("ablate", "--grid", "modle.width=8,16"): ["section 'modle'", "did you mean model?"],
    ("plugins", "check", "grv"): ["component 'grv'", "did you mean gru?"],
    ("plugins", "check", "gru", "--kind", "fusion"): [
        "fusion 'gru': there is none of this name",
        "'vsr plugins list fusion' lists them",
    ],
    ("plugins", "check", "gru", "--kind", "decoder"): ["kind 'decoder'", "did you mean text-decoder"],
    ("plugins", "new", "decoder", "mine"): ["kind 'decoder'", "did you mean text-decoder"],
    ("plugins", "new", "metric", "My Metric"): ["name 'My Metric'", "such as slow-memory"],
    ("plugins", "show", "grv"): ["component 'grv'", "did you mean gru?"],
}
TOGETHER = {
    ("train", "--temporal", "gruu", "--text-decoder", "gro", "--set", "training.epoch=3", "--set", "visual.sise=4",
     "--batch-size", "0"): [
        "'gruu'", "did you mean gru?", "'gro'", "no option 'epoch'", "did you mean epochs?", "no option 'sise'",
        "did you mean size?", "--batch-size 0",
    ],
    ("prepare", "--visual", "tiny", "--text", "tiny", "--set", "data.test=2", "--limit", "-1"): [
        "visual encoder 'tiny'", "did you mean tiny-cnn", "text encoder 'tiny'", "did you mean tiny-text",
        "--set data.test=2", "--limit -1",
    ],
    ("predict", "absent", "--set", "decoding.top_p=0.9"): ["set decoding.method=sample", "absent: there is no such"],
    ("predict", "absent", "--run", "absent"): ["--run absent: there is no such folder", "absent: there is no such"],
    ("evaluate", "--run", "absent", "--data", "nowhere"): ["--run absent: there is no such folder", "nowhere/manifest"],
    ("evaluate", "--metrics", "blue", "rouge", "metor", "--set", "metrics.rouge.stem=true"): [
        "did you mean bleu?", "did you mean meteor", "no option 'stem'; did you mean stemmer?",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[tuple[str, ...], tuple[dict, str]]:
    """Run every command line above in one process, so that what one imports counts against all that follow."""
    lines = [*ANSWERS, *map(list, MISTAKES), *map(list, TOGETHER)]
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(lines), json.dumps(HEAVY)],
        env={name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "VSR_DISABLE_PLUGINS")},
        cwd=tmp_path_factory.mktemp("empty"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, said = {}, []
    for line in done.stderr.splitlines():
        if line.startswith('{"words"'):
            record = json.loads(line)
            found[tuple(record["words"])], said = (record, "\n".join(said)), []
        else:
            said.append(line)
    assert len(found) == len(lines)
    return found


def test_help_and_usage_errors_import_nothing_heavy(answers):
    assert {words: record["heavy"] for words, (record, _) in answers.items() if record["heavy"]} == {}


def test_the_package_is_imported_without_any_library_and_its_names_on_use():
    code = (
        "import sys; before = set(sys.modules); import vsr_cli; loaded = set(sys.modules) - before;"
        "print(sorted(loaded)); print([name for name in vsr_cli.__all__ if not hasattr(vsr_cli, name)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['vsr_cli']", "[]"]


@pytest.mark.parametrize("words", ANSWERS, ids=" ".join)
def test_light_commands_write_nothing_to_stderr(answers, words):
    record, said = answers[tuple(words)]
    assert (record["code"], said) == (0, "")


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_usage_error_is_one_line_and_exit_code_2(answers, words):
    record, said = answers[words]
    assert record["code"] == 2
    assert len(said.splitlines()) == 1
    assert said.startswith("error: ")
    for part in MISTAKES[words]:
        assert part in said


@pytest.mark.parametrize("words", TOGETHER, ids=" ".join)
def test_all_usage_errors_are_reported_together(answers, words):
    record, said = answers[words]
    assert record["code"] == 2
    assert [part for part in TOGETHER[words] if part not in said] == []
    assert all(line.startswith("error: ") for line in said.splitlines())


# 2. Plugins import nothing of ours but vsr_cli.api, and no other plugin.

HEAVY_API = {
    f"vsr_cli.api.{name}" for name in ("context_memory", "generation", "recurrence", "text_loss", "token_decoder")
}
"""What of the API imports torch, and so is named by itself."""


@pytest.mark.parametrize("path", PLUGINS, ids=short)
def test_plugins_import_only_the_api(path):
    home = ".".join(module_of(path)[:2]) if SHIPPED in path.parents else module_of(path)[0]
    for module, names, line in imported(path):
        where = f"{short(path)}:{line} imports {module}"
        if module.split(".")[0] == "vsr_cli":
            assert module in {"vsr_cli.api", *HEAVY_API}, where
            assert module in HEAVY_API or set(names) <= set(api.__all__), where
        elif module.split(".")[0] in ("vsr_plugins", home.split(".")[0]):
            shared = module.startswith("vsr_plugins.") and (SHIPPED / f"{module.split('.')[1]}.py").exists()
            assert shared or f"{module}.".startswith(f"{home}."), where


def test_components_are_built_by_their_own_plugin():
    found = discover(OURS, disabled=set())
    assert found.broken == ()
    folder = {point.name: point.value for point in OURS}
    assert [entry for entry in found.provided if not entry.component.build.startswith(f"{folder[entry.plugin]}.")] == []


# 3. Nothing that is loaded is unpickled or brings code of its own.

UNPICKLING_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNPICKLING_CALLS = {"hub.load", "jit.load", "read_pickle", "load_state", "Unpickler", "load_checkpoint_and_dispatch"}


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_nothing_is_unpickled(path):
    for module, names, line in imported(path):
        assert module.split(".")[0] not in UNPICKLING_MODULES, f"{short(path)}:{line}"
        assert module != "pickle" or set(names) <= {"UnpicklingError"}, f"{short(path)}:{line}"
        assert not (module == "torch" and "load" in names), f"{short(path)}:{line}"
    for node in ast.walk(tree(path)):
        where = f"{short(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
            assert node.attr == "UnpicklingError", where
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert not any(f".{called}".endswith(f".{name}") for name in UNPICKLING_CALLS), where
            assert given.get("trust_remote_code", "False") == "False", where
            assert given.get("allow_pickle", "False") == "False", where
            if called == "torch.load":
                assert given.get("weights_only") == "True", where


LOADERS = {"from_pretrained", "from_config", "load_dataset", "get_config_dict"}
"""What loads a model or a data set by the libraries, which would run the Python code that these bring."""
OWN_LOADERS = {"_from_config", "from_config"}
"""Functions of the plugins' own, called by their bare names."""


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_loaders_set_trust_remote_code_false(path):
    parsed = tree(path)
    called = {id(node.func) for node in ast.walk(parsed) if isinstance(node, ast.Call)}
    for node in ast.walk(parsed):
        where = f"{short(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and node.attr in LOADERS:
            assert id(node) in called, f"{where}: {node.attr} is handed on, so its arguments are not seen here"
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in LOADERS and not (isinstance(node.func, ast.Name) and name in OWN_LOADERS):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert given.get("trust_remote_code") == "False", f"{where}: {name} without trust_remote_code=False"


def test_datasets_library_runs_no_scripts():
    """Its `load_dataset_builder` takes no such argument any more; version 4 did away with what that forbade."""
    bounds = [each for each in requires("vsr-cli") if re.match(r"datasets\b", each)]
    assert bounds
    assert all(int(re.search(r">=\s*(\d+)", bound)[1]) >= 4 for bound in bounds)


def test_loader_calls_are_found():
    found = sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOADERS
        for path in SOURCES
        for node in ast.walk(tree(path))
    )
    assert found >= 15


# 4. A lower layer never imports a higher one.

LAYERS = (
    ("errors", "console", "progress", "quantities", "escaping", "files", "distributed_env", "offline", "system_errors"),
    ("api",),
    ("config", "runs", "plugin"),
    ("data",),
    ("model",),
    ("training", "evaluation", "plugin_checks"),
    ("report",),
    ("inference", "export"),
    ("ablation", "tuning"),
    ("workflows",),
    ("python",),
    ("app",),
    ("cli", "entry", "__main__", "testing", "__init__"),
)
LAYER_OF = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}
SIBLINGS = {"training", "evaluation", "plugin_checks"}
"""Packages of one layer that do not import each other."""


@pytest.mark.parametrize("path", [path for path in SOURCES if PROGRAM in path.parents], ids=short)
def test_modules_import_only_from_their_own_or_lower_layers(path):
    own = module_of(path)[1]
    for module, names, line in imported(path):
        if module.split(".")[0] != "vsr_cli":
            continue
        packages = [module.split(".")[1]] if "." in module else [name for name in names if name in LAYER_OF]
        for package in packages:
            where = f"{short(path)}:{line} imports {package}"
            assert LAYER_OF[package] <= LAYER_OF[own], f"{where}, which is in a higher layer"
            assert package == own or not {package, own} <= SIBLINGS, f"{where}, its sibling"


# 5. No broad `except` outside plugin discovery and plugin checks.

BROAD = {"Exception", "BaseException"}
MAY_CATCH_ALL = {"vsr_cli/plugin/discovery.py", "vsr_cli/plugin/faults.py", "vsr_cli/plugin_checks/outcomes.py"}
"""Whatever a plugin's code does there costs one line."""
RERAISING = {
    "vsr_cli/runs/run.py": "notes in run.json that the work ended badly",
    "vsr_cli/plugin/loading.py": "whatever a component's build does is blamed on it",
    "vsr_cli/data/statistics.py": "the tokenizers library raises a bare Exception",
    "vsr_cli/training/trackers.py": "each experiment tracker has errors of its own",
    "plugins/vsr_plugins/text_encoders/pretrained_vocabulary.py": "the tokenizers library raises a bare Exception",
}
"""Where a broad `except` is allowed because it ends by raising: nothing is swallowed."""


@pytest.mark.parametrize("path", [path for path in SOURCES if short(path) not in MAY_CATCH_ALL], ids=short)
def test_no_broad_except_outside_discovery_and_checks(path):
    for node in ast.walk(tree(path)):
        where = f"{short(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            assert not BROAD & {ast.unparse(argument) for argument in node.args}, where
        if isinstance(node, ast.ExceptHandler):
            caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else BROAD
            if caught & BROAD:
                assert short(path) in RERAISING, where
                assert isinstance(node.body[-1], ast.Raise), where


# 6. Everything that can be extended or chosen is described.


def test_every_kind_has_a_documented_hook():
    assert {name for name in vars(hookspecs) if name.startswith("vsr_")} == {kind.hook for kind in KINDS}
    assert [kind.hook for kind in KINDS if "`build(options" not in (getattr(hookspecs, kind.hook).__doc__ or "")] == []


def test_tutorial_code_equals_the_example():
    blocks = re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", LESSON.read_text(encoding="utf-8"), re.M | re.S)
    assert {Path(path).name for path, _ in blocks} == {"pyproject.toml", "__init__.py", "model.py"}
    for path, code in blocks:
        assert code in (EXAMPLES / "vsr-mean-memory" / path).read_text(encoding="utf-8"), f"{path}:\n{code}"


@pytest.mark.parametrize("entry", discover(OURS, disabled=set()).provided, ids=lambda entry: entry.component.name)
def test_every_component_and_option_is_described(entry):
    assert entry.component.summary.strip()
    assert "\n" not in entry.component.summary
    fields = entry.component.options.model_fields
    assert [name for name, field in fields.items() if not (field.description or "").strip()] == []
