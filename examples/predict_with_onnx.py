"""Predict the next frame of a story with the graphs of `vsr export`: onnxruntime, numpy, tokenizers and Pillow alone.

    pip install onnxruntime numpy tokenizers pillow
    python predict_with_onnx.py exported/ my_stories/the-lost-kite/ next.png

The story is a folder of numbered pairs, 01.jpg and 01.txt and so on. Texts are generated greedily.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from tokenizers import Tokenizer

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
BARS = (124, 116, 104)


def square(path: Path, size: int, resize: str) -> np.ndarray:
    """Return an image as (3, size, size) uint8, made square as the run's own images were."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    longer, shorter = max(image.size), min(image.size)
    if resize == "crop":
        left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
        image = image.crop((left, top, left + shorter, top + shorter))
    if resize == "letterbox":
        inner = (max(1, round(size * image.width / longer)), max(1, round(size * image.height / longer)))
        whole = Image.new("RGB", (size, size), BARS)
        corner = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        whole.paste(image.resize(inner, Image.Resampling.BICUBIC), corner)
        image = whole
    else:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def tokens(tokenizer: Tokenizer, texts: list[str], about: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask (N, length): the first token, those of the text, and the last one, which is never cut off."""
    ids = np.full((len(texts), about["length"]), about["pad"], dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=bool)
    tokenizer.encode_special_tokens = True  # the name of a special token in a text is text
    for row, text in enumerate(texts):
        encoded = tokenizer.encode(text, add_special_tokens=False).ids[: about["length"] - 2]
        found = [about["bos"], *encoded, about["eos"]]
        ids[row, : len(found)], mask[row, : len(found)] = found, True
    return ids, mask


def predict(folder: Path, pairs: list[tuple[Path, str]]) -> tuple[str, Image.Image]:
    """Return the next text and image after some pairs of an image and a text; the last K of them are read."""
    about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    graphs = {name: onnxruntime.InferenceSession(folder / graph["file"]) for name, graph in about["graphs"].items()}
    reads = {name: list(graph["inputs"]) for name, graph in about["graphs"].items()}
    steps, real = about["context_frames"], min(len(pairs), about["context_frames"])
    pairs = pairs[-real:] + [pairs[-1]] * (steps - real)  # a short story repeats its last frame

    images = np.stack([square(path, about["image_size"], about["resize"]) for path, _ in pairs])
    tokenizer = Tokenizer.from_file(str(folder / about["text"]["tokenizer"]))
    ids, mask = tokens(tokenizer, [text.strip() for _, text in pairs], about["text"])
    given = {
        "image_embeddings": graphs["image"].run(None, {"images": images})[0][None],
        "text_embeddings": graphs["text"].run(None, {"ids": ids, "mask": mask})[0][None],
        "frame_mask": np.arange(steps)[None] < real,
        "text_ids": ids[None],
        "text_mask": mask[None],
    }
    image, *tensors = graphs["story"].run(None, {name: given[name] for name in reads["story"]})

    decoder = about["decoder"]
    token, written = decoder["bos"], []
    while len(written) < decoder["length"]:
        values = [np.array([token]), *tensors]
        scores, *states = graphs["step"].run(None, dict(zip(reads["step"], values, strict=True)))
        scores[0, decoder["never_generated"]] = -np.inf
        token = int(scores[0].argmax())
        if token == decoder["eos"]:
            break
        written.append(token)
        tensors = [*states, *tensors[len(states) :]]
    text = Tokenizer.from_file(str(folder / decoder["tokenizer"])).decode(written, skip_special_tokens=True).strip()
    pixels = (image[0].transpose(1, 2, 0) * 255).round().astype(np.uint8)
    return text, Image.fromarray(pixels)


def main() -> None:
    """Read a story, print its next text and write its next image."""
    folder, story, out = map(Path, sys.argv[1:])
    files = sorted(path for path in story.iterdir() if path.suffix.lower() in IMAGES)
    pairs = [(path, path.with_suffix(".txt").read_text(encoding="utf-8")) for path in files]
    text, image = predict(folder, pairs)
    image.save(out)
    print(text)


if __name__ == "__main__":
    main()
