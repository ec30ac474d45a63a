"""Three small stories in the format of each dataset."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import datasets
from datasets import Features, List, Value
from PIL import Image

STORIES = 3
FRAMES = 5


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 32), (40 * number, 90, 200 - 30 * number)).save(file, "PNG")
    return file.getvalue()


def text(story: int, frame: int) -> str:
    return f"In story {story}, thing {frame} is found."


def frame_numbers() -> Iterator[tuple[int, int]]:
    return ((story, frame) for story in range(STORIES) for frame in range(FRAMES))


def story_folders(folder: Path) -> Path:
    for story, frame in frame_numbers():
        (folder / f"story-{story}").mkdir(exist_ok=True, parents=True)
        (folder / f"story-{story}" / f"{frame}.png").write_bytes(picture(frame))
        (folder / f"story-{story}" / f"{frame}.txt").write_text(text(story, frame))
    return folder


def table(folder: Path) -> Path:
    story_folders(folder)
    with (folder / "stories.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("story", "image", "text"), *((s, f"story-{s}/{f}.png", text(s, f)) for s, f in frame_numbers())]
        )
    return folder / "stories.csv"


def json_lines(folder: Path) -> Path:
    story_folders(folder)
    lines = [
        {"id": str(s), "frames": [{"image": f"story-{s}/{f}.png", "text": text(s, f)} for f in range(FRAMES)]}
        for s in range(STORIES)
    ]
    (folder / "stories.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder / "stories.jsonl"


def vist(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    annotations = []
    for story, frame in frame_numbers():
        (folder / "images" / f"{story}{frame}.png").write_bytes(picture(frame))
        annotation = {
            "story_id": str(story),
            "photo_flickr_id": f"{story}{frame}",
            "worker_arranged_photo_order": frame,
        }
        annotations.append([{**annotation, "album_id": str(story), "original_text": text(story, frame)}])
    (folder / "train.story-in-sequence.json").write_text(json.dumps({"images": [], "annotations": annotations}))
    return folder


def hub_folder(folder: Path) -> Path:
    columns = {
        "images": [[{"bytes": picture(f), "path": None} for f in range(FRAMES)] for _ in range(STORIES)],
        "texts": [[text(s, f) for f in range(FRAMES)] for s in range(STORIES)],
    }
    features = Features(images=List(datasets.Image()), texts=List(Value("string")))
    return parquet(folder, columns, features)


def story_reasoning(folder: Path) -> Path:
    columns = {
        "story_id": [str(s) for s in range(STORIES)],
        "images": [[{"bytes": picture(f), "path": None} for f in range(FRAMES)] for _ in range(STORIES)],
        "frame_count": [FRAMES] * STORIES,
        "chain_of_thought": [""] * STORIES,
        "story": [
            "\n\n".join(f"<gdi image{f + 1}>\n<gdo char1>Mara</gdo> {text(s, f)}\n</gdi>" for f in range(FRAMES))
            for s in range(STORIES)
        ],
    }
    texts = dict.fromkeys(("story_id", "chain_of_thought", "story"), Value("string"))
    return parquet(folder, columns, Features(images=List(datasets.Image()), frame_count=Value("int32"), **texts))


def parquet(folder: Path, columns: dict, features: Features) -> Path:
    (folder / "data").mkdir(parents=True)
    data = datasets.Dataset.from_dict(columns, features=features)
    data.to_parquet(str(folder / "data" / "train-00000-of-00001.parquet"))
    return folder
