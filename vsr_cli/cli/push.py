"""`vsr push`: upload a run with its model card to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import out as console
from ..console import print_json, say, warn
from ..errors import VsrError
from ..files.atomic import scratch_folder, write_text
from ..report.tables import Column, fitting_table
from .arguments import Json, License, Storyboards, as_path
from .card import CARD
from .parsing.commands import examples


@examples(
    "vsr push runs/lstm user/name --dry-run",
    "vsr push runs/lstm user/name --private --license cc-by-4.0",
    "vsr predict my_story/ --run user/name",
)
def push(
    run: Annotated[Path, typer.Argument(parser=as_path, metavar="RUN", help="A run: its folder, or its name.")],
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="The repository; created if it is missing.")],
    private: Annotated[bool, typer.Option("--private", help="Create the repository as a private one.")] = False,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="BRANCH", help="The branch, created if it is missing. Default: main."),
    ] = None,
    message: Annotated[str | None, typer.Option("--message", metavar="TEXT", help="Of the commit.")] = None,
    license_name: License = None,
    storyboards: Storyboards = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files, and upload nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Upload what others need of a run, its evaluations and its model card, to the Hugging Face Hub.

    Log in with 'hf auth login', or set HF_TOKEN. Others then use the run as 'vsr predict my_story/ --run USER/NAME'.
    """
    record = run_push(
        run,
        repository,
        private=private,
        revision=revision,
        message=message,
        licence=license_name,
        stories=storyboards,
        dry_run=dry_run,
    )
    if as_json:
        print_json(record)
    elif dry_run:
        _show_files(record)
    else:
        console.print(record["url"], markup=False, soft_wrap=True)
        say(f"next: vsr predict STORY_DIR --run {record['run']}")


def run_push(
    named: Path,
    repository: str,
    *,
    private: bool,
    revision: str | None,
    message: str | None,
    licence: str | None,
    stories: bool | None,
    dry_run: bool,
) -> dict[str, Any]:
    """Collect the files of a run, upload them unless it is a dry run, and return what is or would be there, for JSON.

    Raises VsrError if the run is not finished or damaged, or the Hub does not take it.
    """
    from ..runs.hub import HubId, hub_id
    from ..runs.opening import open_run
    from ..runs.sharing import copy_shared, local_paths
    from ..workflows.sharing import describe_run

    to = hub_id(repository)
    if to is None or to.revision:
        branch = "; name a branch with --revision" if to else ""
        raise VsrError(f"{repository}: is not an id of the Hugging Face Hub; it has the form user/name{branch}")
    to = HubId(to.repo, revision)
    if message is not None and not message.strip():
        raise VsrError("--message: is empty; say what this commit changes, or leave it out")
    run = open_run(named)
    described = describe_run(run, stories=stories)
    for setting, path in local_paths(run.config()):
        warn(f"config.json names a path of this machine, which others will see: {setting}={path}")
    with scratch_folder() as folder:
        names = copy_shared(run, folder, described.evaluations, stories=described.stories)
        image = described.storyboards
        link = image.relative_to(run.folder).as_posix() if image else None
        write_text(folder / CARD, described.card(name=to.repo, licence=licence, storyboards=link))
        files = [{"path": name, "bytes": (folder / name).stat().st_size} for name in [CARD, *names]]
        record: dict[str, Any] = {"run": str(to), "files": files, "bytes": sum(file["bytes"] for file in files)}
        if dry_run:
            return {**record, "url": None}
        from ..runs.hub_upload import upload_run

        say(f"uploading {len(files)} files, {record['bytes'] / 1e6:.1f} MB, to {to}")
        commit = upload_run(
            folder,
            names,
            to,
            private=private,
            message=message or f"Upload run {run.folder.resolve().name}",
            others=[CARD],
        )
    url = commit.split("/commit/")[0] + (f"/tree/{revision}" if revision else "")
    return {**record, "url": url, "commit": commit.rsplit("/", 1)[-1]}


def _show_files(record: dict[str, Any]) -> None:
    images = [file for file in record["files"] if file["path"].endswith(".jpg")]
    listed = [file for file in record["files"] if file not in images]
    if images:
        listed.append({"path": f"{len(images)} predicted images", "bytes": sum(file["bytes"] for file in images)})
    columns = [
        Column("file", [file["path"] for file in listed], justify="left"),
        Column("kB", [f"{file['bytes'] / 1e3:,.1f}" for file in listed]),
    ]
    console.print(fitting_table(columns, width=console.width))
    say(f"{len(record['files'])} files, {record['bytes'] / 1e6:.1f} MB; nothing was uploaded (--dry-run)")
