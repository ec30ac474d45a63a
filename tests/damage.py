"""Random damage to files."""

from pathlib import Path

import numpy as np


def damage(path: Path, random: np.random.Generator) -> str:
    """Damage a file in a random way and return in which."""
    content = bytearray(path.read_bytes())
    way = random.choice(["flip", "flip", "flip", "flip", "cut", "remove"])
    if way == "remove" or not content:
        path.unlink()
        way = "remove"
    elif way == "cut":
        path.write_bytes(content[: int(random.integers(len(content)))])
    else:
        # As often in the head of a file, where formats have their metadata, as anywhere.
        at = int(random.integers(min(len(content), 2000) if random.random() < 0.5 else len(content)))
        content[at] ^= 1 << int(random.integers(8))
        path.write_bytes(content)
        way = f"bit flipped at {at}"
    return way
