"""Packages that `vsr plugins new` writes, and an environment that has them."""

import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from vsr_cli.cli.plugins.new import write_package
from vsr_cli.plugin.kinds import KINDS

from ...warm_python import warm_python

NAMES = {
    "visual-encoder": "grid-colours",
    "text-encoder": "word-mean",
    "fusion": "weighted-sum",
    "temporal-model": "slow-memory",
    "text-decoder": "word-pairs",
    "image-decoder": "soft-blocks",
    "dataset": "counting-squares",
    "metric": "length-ratio",
}
"""One component per kind, as docs/how-to/write-a-component.md names them."""


@dataclass(frozen=True)
class Site:
    """A folder of packages with what an installer would have written of each, so that their entry points are found."""

    folder: Path

    def install(self, package: Path) -> None:
        project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
        for name, value in project["entry-points"]["vsr.plugins"].items():
            (self.folder / value).symlink_to(package / value)
            facts = self.folder / f"{value}-{project['version']}.dist-info"
            facts.mkdir()
            (facts / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
            )
            (facts / "entry_points.txt").write_text(f"[vsr.plugins]\n{name} = {value}\n")

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a Python module that sees the packages."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        environment.pop("FORCE_COLOR", None)
        return subprocess.run(
            [*warm_python(), "-m", *map(str, words)],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An environment with no package yet."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One package a kind, as written."""
    out = tmp_path_factory.mktemp("written")
    return {kind.word: write_package(kind, NAMES[kind.word], out) for kind in KINDS}
