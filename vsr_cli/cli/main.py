"""The program `vsr`: the table of its commands, and the exit code of each error."""

from __future__ import annotations

import os
import signal
import sys
from functools import cache
from typing import Annotated, cast

import typer

from .. import __version__
from ..distributed_env import share_processor
from ..entry import Stopped, describe_end
from ..errors import PluginError, VsrError
from ..escaping import tolerate_encodings
from ..system_errors import describe_os_error, describe_out_of_memory, is_out_of_memory
from .parsing.commands import CONTEXT, Entry, LazyGroup, UsageError

FAULT = 1
MISTAKE = 2
INTERRUPTED = 130
COMPLETING = "_VSR_COMPLETE"
"""Set where the shell asks for completions."""
TRACEBACK_VARIABLE = "VSR_TRACEBACK"
"""An environment variable: if set, the traceback of a plugin's fault is printed."""

COMMANDS = {
    "prepare": Entry("Read stories, split them, and store images, texts and frozen features.", "prepare"),
    "train": Entry("Train a model on prepared data, or resume a run.", "train"),
    "evaluate": Entry("Score a run on a held-out split, each score beside its baselines.", "evaluate"),
    "predict": Entry("Predict the next image and text of a story.", "predict"),
    "continue": Entry("Continue a story by several frames, each predicted from those before it.", "continue_"),
    "demo": Entry("Do all of it on embedded stories, in about three minutes.", "demo"),
    "report": Entry("Write an evaluation as an HTML page and as Markdown.", "report"),
    "card": Entry("Write the model card of a run.", "card"),
    "push": Entry("Upload a run with its model card to the Hugging Face Hub.", "push"),
    "compare": Entry("Compare evaluations, with the significance of their differences.", "compare"),
    "score": Entry("Score the predictions of another system.", "score"),
    "app": Entry("Serve a page on which a run predicts stories, with an API.", "app"),
    "export": Entry("Write a model as ONNX graphs.", "export"),
    "ablate": Entry("Train and score combinations of components with several seeds.", "ablate"),
    "ablate-cell": Entry("Train and score one run of an ablation.", "ablate_cell", hidden=True),
    "tune": Entry("Search for the settings with the lowest validation loss.", "tune"),
    "tune-cell": Entry("Train one trial of a search.", "tune_cell", hidden=True),
    "data": Entry(
        "Analyse stories: problems, statistics, single stories.",
        commands={
            "lint": Entry("List the problems of stories.", "data.lint"),
            "stats": Entry("Show statistics of stories, as a table and an image.", "data.stats"),
            "show": Entry("Draw a prepared story.", "data.show"),
            "verify": Entry("Compare prepared data with its checksums.", "data.verify"),
        },
    ),
    "runs": Entry(
        "List, show, verify, rename and remove runs.",
        commands={
            "list": Entry("List the runs in a folder.", "runs.list"),
            "show": Entry("Show a run, and what to type next.", "runs.show"),
            "verify": Entry("Compare a run with its checksums.", "runs.verify"),
            "rename": Entry("Rename a run.", "runs.rename"),
            "rm": Entry("Remove runs.", "runs.rm"),
        },
    ),
    "plugins": Entry(
        "List, show, check and create components.",
        commands={
            "list": Entry("List the installed components.", "plugins.list"),
            "show": Entry("Show a component and its options.", "plugins.show"),
            "check": Entry("Check that a component fulfils the contract of its kind.", "plugins.check"),
            "new": Entry("Write a package with a working component, to start from.", "plugins.new"),
        },
    ),
    "presets": Entry("List the presets.", "config"),
    "config": Entry(
        "Show the configuration of a command.",
        commands={"show": Entry("Print the resolved configuration of a train command.", "config")},
    ),
    "doctor": Entry("Check the installation and the machine, and say what is missing.", "doctor.command"),
    "cache": Entry(
        "List, verify and prune the cached frozen features.",
        commands={
            "list": Entry("List the cached features.", "cache"),
            "verify": Entry("Compare cached features with their checksums.", "cache"),
            "prune": Entry("Remove cached features.", "cache"),
        },
    ),
}

app = typer.Typer(
    name="vsr",
    cls=LazyGroup,
    context_settings=CONTEXT,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vsr {__version__}")
        raise typer.Exit


@app.callback()
def vsr(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Visual story reasoning: predict the fifth (image, text) pair of a story from the first four."""


@cache
def command_line() -> LazyGroup:
    """Return the program's group of commands."""
    group = cast(LazyGroup, typer.main.get_command(app))
    group.entries = COMMANDS
    return group


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 a check or a plugin failed, 2 the user's mistake, 130, 129 or 143 stopped by a signal.
    """
    tolerate_encodings()
    share_processor()
    if COMPLETING in os.environ:
        from .parsing.completion import join_bash_words

        join_bash_words(os.environ)
    try:
        code = command_line()(prog_name="vsr", standalone_mode=False)
    except UsageError as error:
        from .parsing.usage_errors import fail_usage

        fail_usage(error, command_line())
        code = MISTAKE
    except VsrError as error:
        code = _fail(*error.lines, code=MISTAKE)
    except PluginError as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            from ..console import print_traceback

            print_traceback(error)
        code = _fail(str(error), code=FAULT)
    except OSError as error:
        code = _fail(describe_os_error(error), code=MISTAKE)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        code = _fail(describe_out_of_memory(error), code=MISTAKE)
    except Stopped as end:
        code = _fail(describe_end(end.number), code=128 + end.number)
    if code == INTERRUPTED:
        _fail(describe_end(signal.SIGINT), code=INTERRUPTED)
    sys.exit(code)


def _fail(*lines: str, code: int) -> int:
    from ..console import fail  # imported late: help needs no rich

    fail(*lines)
    return code
