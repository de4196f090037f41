"""Measure the time and the memory of `kcomp check` for generated images, and of its first step, measuring the files.

    python scripts/check_speed.py --images 1000 10000

The images are JPEGs of 320 x 240 px, about 30 KB each, in ten classes: smooth random shapes with a tint of the class,
and noise. A quarter of them are test images. Every measurement runs in a new process,
with an empty cache ($KCOMP_CACHE in a temporary folder), unless it is named "again", which uses the cache of the one
before. The script prints seconds, images a second, and the peak memory (resident set) of the largest process.

`--only measure` skips `kcomp check`, `--only check` the rest.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

CLASSES = [f"class-{number}" for number in range(10)]
READ = """
import sys, warnings
warnings.simplefilter("ignore")
from kcomp import data
table = data.read_csv(sys.argv[1] + "/train.csv", "images", label="label")
test = data.read_test(sys.argv[1] + "/test.csv", "images")
"""
MEASURE = READ + "from kcomp.measurements import measure; measure(table); measure(test)"
HEADERS = READ + "from kcomp.measurements import measure; measure(table, pixels=False)"
FILES = (
    READ
    + """
from kcomp import metrics
from kcomp.check.data_set import DataSet
from kcomp.check.files.part import check_files
from kcomp.measurements import measure
check_files(DataSet(
    table=table, facts=measure(table), test=test, test_facts=measure(test), metric=metrics.accuracy
))
"""
)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, nargs="+", default=[1000, 10000], help="how many images in all")
    arguments.add_argument("--backend", default="torch", choices=["jax", "torch"], help="of `kcomp check`")
    arguments.add_argument("--only", choices=["measure", "check"])
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for count in chosen.images:
            place = Path(folder) / str(count)
            write_images(place, count)
            os.environ["KCOMP_CACHE"] = str(place / "cache")
            if chosen.only != "check":
                measure_steps(place, count)
            if chosen.only != "measure":
                command = [sys.executable, "-m", "kcomp.cli", "check", str(place), "--backend", chosen.backend]
                command += ["-o", str(place / "report")]
                os.environ["KCOMP_CACHE"] = str(place / "cache of check")
                report("kcomp check", count, command)
                report("kcomp check again", count, command)


def measure_steps(place, count):
    for name, code in (
        ("read and check for damage", READ),
        ("read again", READ),
        ("headers only", HEADERS),
        ("headers only again", HEADERS),
        ("measure", MEASURE),
        ("measure again", MEASURE),
        ("check of the files", FILES),
    ):
        report(name, count, [sys.executable, "-c", code, str(place)])


def report(name, count, command):
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{name} failed:\n{output.decode()[-3000:]}")
    peak = usage.ru_maxrss / 1024
    cpu = usage.ru_utime + usage.ru_stime
    print(
        f"{count:6} images, {name:26} {seconds:7.1f} s ({cpu:.1f} s CPU), {count / seconds:6.0f} images/s, "
        f"{peak:6.0f} MiB",
        flush=True,
    )


def write_images(place, count):
    (place / "images").mkdir(parents=True)
    labels = [CLASSES[number % len(CLASSES)] for number in range(count)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda number: write_image(place / "images" / f"{number}.jpg", number), range(count)))
    test = count // 4
    lines = [f"{number},{label}" for number, label in enumerate(labels)]
    (place / "train.csv").write_text("\n".join(["image_id,label", *lines[test:]]) + "\n")
    (place / "test.csv").write_text("\n".join(["image_id", *map(str, range(test))]) + "\n")
    submission = [f"{number},{CLASSES[0]}" for number in range(test)]
    (place / "sample_submission.csv").write_text("\n".join(["image_id,label", *submission]) + "\n")


def write_image(path, number):
    random = np.random.default_rng(number)
    shapes = random.normal(120, 45, (7, 9, 3)).astype(np.float32)
    shapes += 25 * np.cos(number % len(CLASSES) + np.array([0, 2, 4]))
    pixels = cv2.resize(shapes, (320, 240), interpolation=cv2.INTER_CUBIC)
    pixels += cv2.resize(random.normal(0, 12, (60, 80, 3)).astype(np.float32), (320, 240))
    pixels += random.normal(0, 3, pixels.shape)
    cv2.imwrite(str(path), np.clip(pixels, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])


if __name__ == "__main__":
    main()
