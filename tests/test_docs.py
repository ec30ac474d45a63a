"""The documentation site: every page builds without a warning, so no link or generated page is broken."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from vsr_cli import __version__
from vsr_cli.cli.main import command_line
from vsr_cli.cli.parsing.commands import leaves
from vsr_cli.config.renamed import COMPONENTS, OPTIONS, SETTINGS, VALUES

ROOT = Path(__file__).parents[1]


def test_site_builds_without_warnings(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(
        [*command, "--config-file", ROOT / "docs" / "mkdocs" / "mkdocs.yml"],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training.learning_rate" in (tmp_path / "reference" / "settings.html").read_text(encoding="utf-8")


def test_changelog_lists_every_rename():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    names = [*SETTINGS.items(), *OPTIONS.items()]
    for values in (*VALUES.values(), *COMPONENTS.values()):
        names += values.items()
    assert [(old, new) for old, new in names if old not in changelog or f"`{new}`" not in changelog] == []


def test_readme_names_every_folder_of_the_two_packages():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    folders = [path for package in ("vsr_cli", "plugins/vsr_plugins") for path in (ROOT / package).iterdir()]
    assert [path.name for path in folders if (path / "__init__.py").is_file() and f"  {path.name}/" not in readme] == []


def test_every_command_in_the_docs_has_only_options_that_exist():
    group = command_line()
    commands = [group, *leaves(group)]
    own = {name for option in group.params for name in option.opts}
    known = {name for command in commands for option in command.params for name in option.opts} | {"--help"}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for line in re.findall(r"^vsr .*|`vsr [^`]*`", page.read_text(encoding="utf-8"), re.M):
            assert set(re.findall(r"(?<=\s)--[a-z-]+", line)) <= known, f"{page}: {line}"
            assert set(line.strip("`").split()[1:2]) <= {*group.entries, *own, "--help"}, line


def test_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the schema requires
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    assert citation["version"] == __version__
    assert citation["authors"] == [{"name": "The vsr developers"}]
