"""Measure the speed of prediction: kcomp on PyTorch and JAX, and the exported file on ONNX Runtime and OpenVINO.

    python scripts/benchmark_runtimes.py --json runtimes.json

Needs kcomp with the extras torch, jax, lite, onnx and openvino. For each network and size, every contestant is a
process that warms up before the first turn. The contestants then take turns in a new order each round, with a pause
between turns for threads that still spin. All predict the same 16 crops of scikit-learn's two photographs.

EfficientNet-Lite0 has its ImageNet weights. EfficientNet-B0 has random weights, because Keras would have to download
others, so only Lite0 shows how a precision changes real predictions. The ratio is the median, over the rounds, of the
speed divided by that of kcomp on PyTorch. The difference is the largest difference of a probability to that of kcomp
on PyTorch.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

CONTESTANTS = ("kcomp torch", "kcomp jax", "onnxruntime", "openvino f32", "openvino bf16")
BATCH = 16


def photographs(size):
    """Return random square crops of two photographs: float32 (16, size, size, 3) in 0..255."""
    import cv2
    from sklearn.datasets import load_sample_images

    draws, pictures, crops = np.random.default_rng(0), load_sample_images().images, []
    for number in range(BATCH):
        picture = pictures[number % len(pictures)]
        side = int(draws.integers(200, min(picture.shape[:2]) + 1))
        top, left = (int(draws.integers(0, length - side + 1)) for length in picture.shape[:2])
        crops.append(cv2.resize(picture[top : top + side, left : left + side], (size, size)))
    return np.stack(crops).astype(np.float32)


def build(network, size):
    import keras

    from kcomp import models

    if network == "lite0":
        return models.efficientnet_lite0(size, include_top=True)
    return keras.applications.EfficientNetB0(input_shape=(size, size, 3), weights=None, classifier_activation=None)


def prepare(network, size, folder):
    """Write the images, the weights and the ONNX file that all contestants read."""
    from kcomp.prediction.onnx import onnx_model

    np.save(folder / "images.npy", photographs(size))
    built = build(network, size)
    built.save_weights(folder / "network.weights.h5")
    (folder / "model.onnx").write_bytes(onnx_model(built).SerializeToString())


def forward_of(contestant, network, size, folder, threads):
    """Return a contestant's function of images that returns probabilities."""
    if contestant.startswith("kcomp"):
        from kcomp.models import pretrained
        from kcomp.prediction.forward import compile_forward, softmax

        with pretrained.skipped():
            built = build(network, size)
        built.load_weights(folder / "network.weights.h5")
        forward = compile_forward(built)
        return lambda images: softmax(forward(images))
    if contestant == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        return lambda images: session.run(None, {"images": images})[0]
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": contestant.split()[1], "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(folder / "model.onnx", "CPU", hints)
    return lambda images: compiled(images)["predictions"]


def compete(contestant, network, size, folder, threads, seconds):
    """Warm up, write the probabilities, then time one turn for each line of standard input."""
    images = np.load(folder / "images.npy")
    forward = forward_of(contestant, network, size, folder, threads)
    np.save(folder / f"{contestant}.npy", forward(images))
    for _ in range(2):
        forward(images)
    print("ready", flush=True)
    for _ in sys.stdin:
        passes, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            forward(images)
            passes += 1
        print(passes * BATCH / (time.perf_counter() - start), flush=True)


def start(contestant, network, size, folder, arguments):
    """Start this file as a contestant, or with "prepare" as the process that writes the files."""
    backend = "jax" if contestant == "kcomp jax" else "torch"
    environment = {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": str(arguments.threads)}
    settings = [contestant, network, size, folder, arguments.threads, arguments.seconds]
    command = [sys.executable, __file__, "--contestant", json.dumps([str(value) for value in settings])]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(process, contestant):
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{contestant} ended with exit code {process.wait()}")
    return line.strip()


def measure(network, size, arguments):
    """Return the speeds (images a second) and the probabilities of each contestant."""
    rates, found, draws = {name: [] for name in CONTESTANTS}, {}, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder, processes = Path(scratch), {}
        if start("prepare", network, size, folder, arguments).wait():
            raise RuntimeError(f"{network} at {size} px could not be exported")
        try:
            for name in CONTESTANTS:  # one after the other, or they would warm up against each other
                processes[name] = start(name, network, size, folder, arguments)
                answer(processes[name], name)
                found[name] = np.load(folder / f"{name}.npy")
            for _ in range(arguments.rounds):
                for name in draws.permutation(CONTESTANTS):
                    time.sleep(0.3)
                    print("go", file=processes[name].stdin, flush=True)
                    rates[name].append(float(answer(processes[name], name)))
        finally:
            for process in processes.values():
                process.stdin.close()
                process.wait()
    return rates, found


def summarise(network, size, rates, found):
    first, rows = CONTESTANTS[0], []
    for name in CONTESTANTS:
        rows.append(
            {
                "network": network,
                "size": size,
                "contestant": name,
                "images_per_second": float(np.median(rates[name])),
                "least": min(rates[name]),
                "most": max(rates[name]),
                "ratio": float(np.median(np.divide(rates[name], rates[first]))),
                "difference": float(np.abs(found[name] - found[first]).max()),
                "rates": rates[name],
            }
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="lite0,b0", help="of lite0 and b0, with commas between")
    parser.add_argument("--sizes", default="128,224", help="pixels, with commas between")
    parser.add_argument("--threads", type=int, default=2, help="threads and cores of each contestant")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="the least length of a turn")
    parser.add_argument("--json", type=Path, help="write conditions and results into this file")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        name, network, size, folder, threads, seconds = json.loads(arguments.contestant)
        if name == "prepare":
            return prepare(network, int(size), Path(folder))
        return compete(name, network, int(size), Path(folder), int(threads), float(seconds))
    cores = sorted(os.sched_getaffinity(0))[: arguments.threads]
    if len(cores) < arguments.threads:
        parser.error(f"--threads {arguments.threads} needs as many cores; this process may use {len(cores)}")
    os.sched_setaffinity(0, cores)  # the only way to tell XLA how many threads to use; children inherit it
    rows = []
    for network in arguments.networks.split(","):
        for size in arguments.sizes.split(","):
            found = summarise(network, int(size), *measure(network, int(size), arguments))
            for row in found:
                print(
                    f"{network:5} {size:>3} px  {row['contestant']:13} {row['images_per_second']:7.1f} img/s "
                    f"({row['least']:.1f}..{row['most']:.1f})  x{row['ratio']:.2f}  differs by {row['difference']:.0e}",
                    flush=True,
                )
            rows += found
    if arguments.json:
        names = ("kcomp", "keras", "torch", "jax", "onnxruntime", "openvino")
        conditions = {"batch": BATCH, "threads": arguments.threads, "rounds": arguments.rounds}
        conditions |= {"seconds": arguments.seconds, "machine": platform.platform(), "load": os.getloadavg()}
        conditions["versions"] = {name: version(name) for name in names}
        arguments.json.write_text(json.dumps({"conditions": conditions, "results": rows}, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
