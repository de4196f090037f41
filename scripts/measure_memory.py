"""Measure the memory and the speed of reading an epoch of 1,000 to 50,000 images.

    python scripts/measure_memory.py 1000 5000 50000

For each count, the script makes that many JPEGs of 320 x 240 pixels. They are links to one file, which the cache treats
as different images. A new process with an empty cache reads them as a table, and then through `Batches` at 224 px.

The script prints the resident memory in MiB: after the imports, with the table, with the lists of the batches, at the
peak, and at the end of the epochs. It also prints the CPU seconds until the first batch can be read, and images a
second. The files and the cache are in a temporary folder. The cache is limited to 2 GiB unless --cache-bytes says
otherwise. Linux only, because the script reads /proc.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES = 10


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("counts", nargs="*", type=int, default=[1000, 5000, 50000])
    arguments.add_argument("--cache-bytes", type=int, default=2 << 30)
    arguments.add_argument("--epochs", type=int, default=2, help="the first fills the cache")
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--measure", help=argparse.SUPPRESS)  # the folder, in the process that is measured
    chosen = arguments.parse_args()
    if chosen.measure:
        print(json.dumps(measured(Path(chosen.measure), chosen)))
        return
    for count in chosen.counts:
        with tempfile.TemporaryDirectory() as folder:
            make_images(Path(folder, "images"), count)
            environment = {**os.environ, "KCOMP_CACHE": f"{folder}/cache"}
            command = [sys.executable, __file__, "--measure", f"{folder}/images", "--epochs", str(chosen.epochs)]
            command += ["--cache-bytes", str(chosen.cache_bytes), "--workers", str(chosen.workers)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            print(f"{count} images:", json.dumps(json.loads(done.stdout)), flush=True)


def make_images(folder, count):
    """Make `count` links to one JPEG of smooth colours and noise, in one folder for each class."""
    import cv2
    import numpy as np

    draws = np.random.default_rng(0)
    smooth = cv2.resize(draws.integers(0, 256, (12, 16, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(smooth + draws.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
    for number in range(CLASSES):
        (folder / f"class{number}").mkdir(parents=True)
    first = folder / "class0" / "000000.jpg"
    first.write_bytes(cv2.imencode(".jpg", noisy)[1].tobytes())
    for number in range(1, count):
        (folder / f"class{number % CLASSES}" / f"{number:06d}.jpg").hardlink_to(first)


def measured(folder, chosen):
    from kcomp import data
    from kcomp.system.memory import keep_freed_memory

    keep_freed_memory()  # as every `kcomp train` does

    found = {"imports": resident()}
    started = time.process_time()
    table = data.read_folders(folder)
    found["table"] = resident()
    batches = data.Batches(
        table, 224, batch_size=32, training=True, images=data.Images(224, cache_bytes=chosen.cache_bytes)
    )
    batches.workers = chosen.workers
    found["batches"] = resident()
    found["CPU seconds to start"] = round(time.process_time() - started, 2)
    found["images/s of each epoch"] = []
    for epoch in range(chosen.epochs):
        started = time.perf_counter()
        rows = sum(len(batch["images"]) for batch in batches.epochs(epoch))
        found["images/s of each epoch"].append(round(rows / (time.perf_counter() - started)))
    return {**found, "peak": resident("VmHWM"), "end": resident()}


def resident(name="VmRSS"):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
