"""What can be typed once there is a run: to score it, to predict with it; and the demonstration, which does it all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import print_json
from ..errors import VsrError, nearest
from .arguments import (
    Assignments,
    BatchSize,
    Compile,
    Config,
    Data,
    DecodingMethod,
    Epochs,
    Folds,
    Font,
    Fusion,
    ImageDecoder,
    Json,
    Leaks,
    Metrics,
    Out,
    Precision,
    Preset,
    Protocol,
    RunFolder,
    Split,
    Temporal,
    Text,
    TextDecoder,
    Visual,
    as_path,
    use_font,
)
from .parsing import SeveralMetrics, examples

predicting_app = typer.Typer()


@predicting_app.command(
    cls=SeveralMetrics,
    epilog=examples(
        "vsr evaluate --metrics bleu rouge meteor",
        "vsr evaluate --run runs/mine --split validation --json",
        "vsr evaluate --metrics all",
        "vsr evaluate --metrics bleu --set metrics.bleu.lowercase=false",
        "vsr evaluate --protocol leaky",
        "vsr evaluate --decoding beam --set decoding.beams=8",
        "vsr evaluate --folds 5 --data data/my_stories --preset laptop --epochs 10",
    ),
)
def evaluate(
    run: RunFolder = None,
    data: Data = None,
    split: Split = "test",
    metrics: Metrics = None,
    decoding: DecodingMethod = None,
    allow_train: Annotated[
        bool, typer.Option("--allow-train", help="Score the split that the model learned from all the same.")
    ] = False,
    protocol: Protocol = "held-out",
    leaks: Leaks = None,
    folds: Folds = None,
    preset: Preset = None,
    visual: Visual = None,
    text: Text = None,
    fusion: Fusion = None,
    temporal: Temporal = None,
    text_decoder: TextDecoder = None,
    image_decoder: ImageDecoder = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    precision: Precision = None,
    compile_parts: Compile = False,
    assignments: Assignments = None,
    config: Config = None,
    out: Out = None,
    font: Font = None,
    as_json: Json = False,
) -> None:
    """Score a run's free-running predictions on a held-out split, each score beside its baselines and its upper bound.

    With --folds N, hold every story of a prepared folder out once: train N models, as 'vsr train' with the same
    options would, and score what each predicts of the stories that it has not seen, all together. Typed again, the
    same line goes on where it stopped.
    """
    use_font(font)
    from ..config.experiment import resolve_evaluation
    from ..config.resolve import parse_set
    from ..data.splits import SPLITS
    from ..runs.opening import open_run
    from .evaluate import ALL, DEFAULT_METRICS, data_of, evaluation_folder, run_evaluate, show_result
    from .flags import resolve_train_command, train_flags
    from .folds import refuse_run_options, refuse_training_options, run_folds, sorted_assignments
    from .leaky import chosen_leaks, leaky_folder, run_leaky, show_leaky
    from .requirements import check_together
    from .settings import comma_separated, flag_layers, registry
    from .train import find_data, read_manifest

    found = registry()
    names = comma_separated(metrics or DEFAULT_METRICS)
    if ALL in names:
        names = found.names("metrics")
    ours, of_training = sorted_assignments(assignments or [], trains=folds is not None)
    layers = [*flag_layers({"decoding.method": decoding}), *parse_set(ours)]
    choices, how = resolve_evaluation(found, names, layers)
    parts = {
        "visual": visual,
        "text": text,
        "fusion": fusion,
        "temporal": temporal,
        "text_decoder": text_decoder,
        "image_decoder": image_decoder,
    }
    flags = train_flags(
        parts, epochs=epochs, batch_size=batch_size, precision=precision, compile_parts=compile_parts, track=None
    )
    if folds is not None:
        refuse_run_options(
            folds,
            {
                "--run": run,
                "--split": None if split == "test" else split,
                "--allow-train": allow_train,
                "--protocol": None if protocol == "held-out" else protocol,
                "--leaks": ",".join(leaks or []),
            },
        )
        given = find_data(data)
        if given is None:
            raise VsrError(f"--folds {folds}: nothing is prepared under data/ yet; run 'vsr prepare' first")
        settings = resolve_train_command(
            found, given, preset=preset, config=config, flags=flags, assignments=of_training
        )
        place, result = run_folds(found, settings, given, folds, choices, decoding=how, out=out)
        print_json(result) if as_json else show_result(result, evaluation_folder(place, "test", how))
        return
    refuse_training_options({"--preset": preset, "--config": config, "--out": out}, flags, of_training)
    if split not in SPLITS:
        raise VsrError(f"--split {split}: there is none of this name; {nearest(split, SPLITS)}")
    if split == "train" and not allow_train:
        raise VsrError(
            "--split train: the model learned from it, so its score says nothing; --allow-train shows it all the same"
        )
    opened_leaks = chosen_leaks(protocol, None if leaks is None else comma_separated(leaks))
    check_together(lambda: open_run(run), lambda: data and read_manifest(data))
    opened = open_run(run)
    folder = data_of(opened, data)
    result = run_evaluate(found, opened, folder, split, choices, decoding=how)
    if not as_json:
        show_result(result, evaluation_folder(opened.folder, split, how))
    if opened_leaks is not None:
        record = run_leaky(found, opened, folder, split, choices, leaks=opened_leaks, decoding=how, held_out=result)
        print_json(record) if as_json else show_leaky(record, leaky_folder(opened, split, how))
    elif as_json:
        print_json(result)


@predicting_app.command(
    epilog=examples(
        "vsr predict story_dir/",
        "vsr predict stories/* --out next/",
        "vsr predict story_dir/ --json | jq -r .text",
        "vsr predict story_dir/ --decoding sample --set decoding.top_p=0.9 --set decoding.seed=1",
    )
)
def predict(
    story_dir: Annotated[
        list[Path], typer.Argument(parser=as_path, help="Folders of pairs 01.jpg, 01.txt …, or with a story.json.")
    ],
    run: RunFolder = None,
    decoding: DecodingMethod = None,
    assignments: Assignments = None,
    font: Font = None,
    as_json: Json = False,
    out: Out = None,
) -> None:
    """Predict what happens next: the fifth image and text of a story, with a storyboard."""
    use_font(font)
    from ..config.experiment import resolve_decoding
    from ..config.resolve import parse_set
    from ..runs.opening import open_run
    from .predict import run_predict, source_mistakes
    from .requirements import collected
    from .settings import flag_layers, registry

    found = registry()
    layers = [*flag_layers({"decoding.method": decoding}), *parse_set(assignments or [])]
    how = resolve_decoding(found, layers)
    if missing := collected(lambda: open_run(run)):
        raise VsrError(*missing, *source_mistakes(found, story_dir))
    mistakes = run_predict(found, open_run(run), story_dir, out, decoding=how, as_json=as_json)
    if mistakes:
        raise VsrError(*mistakes)


@predicting_app.command(epilog=examples("vsr demo", "vsr demo --out somewhere/"))
def demo(out: Out = None) -> None:
    """Prepare, train, evaluate and predict on the embedded dataset, in a minute or two."""
    from .demo import run_demo
    from .settings import registry

    run_demo(registry(), out or Path("demo"))
