"""`vsr app` under load: several users at once, bad uploads among them.

Run as `python benchmarks/app.py RUN`. The page is served by a process of its own. Measured are its first and its second
answer to a bare HTTP client, upload included, beside a warm prediction by a loaded model in Python, and the processor
time of both; the first answer to Gradio's client, which makes a TLS context for each file; then the answers to users
who ask at once, each of which must be that of Python, or for a bad upload one line; and the server's memory and disk
space after each quarter of them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles
from typing import Any

from vsr_cli.app.warming import predict, upload, visitor  # before anything is timed

USERS, REQUESTS = 8, 1000
BAD_EVERY = 8
"""One of so many requests uploads a file that is no image."""
SEEDS = 5


def memory(process: int) -> float:
    """Return the anonymous memory of a process in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def processor_seconds(process: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def disk(folder: Path) -> float:
    """Return the size of the files in a folder, in MiB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def ask_bare(client: Any, files: list[Path], texts: list[str], run: str) -> str:
    """Predict as a program without Gradio's client does, and return the text."""
    answer = predict(client, upload(client, files), texts, run=run, method="sample")
    return str(json.loads(answer.split("data: ", 1)[1])[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    given = parser.parse_args()
    requests = REQUESTS // 10 if given.quick else REQUESTS
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    import vsr_cli as vsr

    with tempfile.TemporaryDirectory() as folder:
        model = vsr.load(given.run)
        frames = vsr.example_stories(1)[0].frames[: model.context_frames]
        files = [Path(folder) / f"{number}.jpg" for number in range(len(frames))]
        for file, frame in zip(files, frames, strict=True):
            assert isinstance(frame.image, bytes)
            file.write_bytes(frame.image)
        texts = [frame.text for frame in frames]
        bad = Path(folder) / "bad.jpg"
        bad.write_text("no image")

        def by_python(seed: int) -> str:
            return model.predict(images=files, texts=texts, method="sample", seed=seed).text

        by_python(0)
        start, used_start = time.perf_counter(), time.process_time()
        expected = [by_python(seed) for seed in range(SEEDS)]
        warm, warm_used = (time.perf_counter() - start) / SEEDS, (time.process_time() - used_start) / SEEDS
        space = Path(folder) / "server"
        space.mkdir()
        server = subprocess.Popen(
            [sys.executable, "-m", "vsr_cli", "app", "--run", given.run],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=dict(os.environ, PYTHONUNBUFFERED="1", TMPDIR=str(space)),
        )
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()

            def ask(client: Client, number: int) -> tuple[str, float]:
                is_bad, seed = number % BAD_EVERY == 0, number % SEEDS
                images = [handle_file(str(file)) for file in ([bad, *files[1:]] if is_bad else files)]
                start = time.perf_counter()
                try:
                    text, _ = client.predict(
                        images=images, texts=texts, method="sample", seed=seed, run=model.run.name, api_name="/predict"
                    )
                    kind = "right" if not is_bad and text == expected[seed] else f"wrong: {text}"
                except AppError as error:
                    kind = "refused" if is_bad and "\n" not in str(error).strip() else f"wrong: {error}"
                return kind, time.perf_counter() - start

            print(f"warm prediction in Python {warm:8.3f} s, {warm_used:.3f} s of a processor")
            with visitor(address) as client:  # made beforehand, as it reads certificates that no local address needs
                for which in ("first", "second"):
                    start, before = time.perf_counter(), processor_seconds(server.pid)
                    assert ask_bare(client, files, texts, model.run.name) == expected[0]
                    wall, used = time.perf_counter() - start, processor_seconds(server.pid) - before
                    print(
                        f"{which:6} answer by HTTP     {wall:8.3f} s, {wall / warm:.2f} times as long; "
                        f"{used:.2f} s of a processor, {used / warm_used:.2f} times"
                    )
            clients = [Client(address, verbose=False, download_files=folder) for _ in range(USERS)]
            kind, first = ask(clients[0], 1)
            assert kind == "right", kind
            print(f"first by Gradio's client  {first:8.3f} s")
            seconds: list[float] = []
            kinds: list[str] = []
            memories, disks = [memory(server.pid)], [disk(space)]
            begin = time.perf_counter()
            for quarter in range(4):
                numbers = range(quarter * requests // 4, (quarter + 1) * requests // 4)
                with ThreadPoolExecutor(USERS) as pool:
                    for kind, time_taken in pool.map(lambda number: ask(clients[number % USERS], number), numbers):
                        kinds.append(kind)
                        seconds.append(time_taken)
                memories.append(memory(server.pid))
                disks.append(disk(space))
            wall = time.perf_counter() - begin
        finally:
            server.terminate()
            server.wait()
        wrong = [kind for kind in kinds if kind.startswith("wrong")]
        cuts = quantiles(seconds, n=20)
        print(f"{USERS} users, {requests} requests    {wall:8.1f} s, {requests / wall:.1f} per second")
        print(f"answer, median and 95 %   {cuts[9]:8.3f} s, {cuts[18]:.3f} s")
        print(f"right / refused / wrong   {kinds.count('right')} / {kinds.count('refused')} / {len(wrong)}")
        print(f"memory of the server, MiB {' '.join(f'{each:.0f}' for each in memories)}")
        print(f"its disk space, MiB       {' '.join(f'{each:.1f}' for each in disks)}")
        if wrong:
            sys.exit("\n".join(wrong[:3]))


if __name__ == "__main__":
    main()
