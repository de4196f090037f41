"""Compare converted networks with timm, and write kcomp/models/checkpoints/checks.csv.

    KERAS_BACKEND=torch python scripts/check_timm.py
    KERAS_BACKEND=jax python scripts/check_timm.py --names convnext_tiny.fb_in1k

For each architecture, timm saves random weights to a file, `models.timm` converts the file, and both predict two random
images. The difference is the largest of all logits, divided by the largest logit. Networks of more than --millions
weights are left out. The other backend's numbers stay in the file.
"""

import argparse
import csv
import gc
import os
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import keras
import torch
from safetensors.torch import save_file
from timm_peer import timm

from kcomp.models.checkpoints import convert, headless, proof
from kcomp.models.checkpoints.files import read_checkpoint
from kcomp.models.checkpoints.known import checkpoints
from kcomp.models.checkpoints.network import build_network

COLUMNS = ("architecture", "family", "zeromodels", "torch", "jax")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--names", nargs="+", help="timm's names; the default is one of each architecture")
    arguments.add_argument("--millions", type=float, default=60, help="of weights, at most")
    chosen = arguments.parse_args()
    first = {checkpoint.architecture: checkpoint.name for checkpoint in reversed(checkpoints().values())}
    for name in chosen.names or sorted(first.values()):
        checkpoint = checkpoints()[name]
        try:
            difference = compare(checkpoint, chosen.millions)
        except Exception as error:  # noqa: BLE001  (the table shows which networks fail, and how)
            print(f"{name:55} FAILED {type(error).__name__}: {str(error)[:200]}", flush=True)
            continue
        if difference is not None:
            record(checkpoint, difference)
        keras.backend.clear_session()
        gc.collect()


def compare(checkpoint, millions):
    start = time.perf_counter()
    with torch.device("meta"):
        count = sum(weight.numel() for weight in timm.create_model(checkpoint.name, pretrained=False).parameters())
    if count > millions * 1e6:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(random_network(checkpoint.name).state_dict(), path)
        arrays = read_checkpoint(path)
        classes = max(1, headless.count_classes(checkpoint, arrays))
        network = build_network(checkpoint, checkpoint.size, classes=classes)
        convert.transfer(checkpoint, arrays, network, path)
        difference = proof.largest_difference(timm, checkpoint, arrays, network)
    allowed = proof.TOLERANCE[keras.backend.backend()]
    verdict = "ok" if difference <= allowed else "DIFFERS"
    seconds = time.perf_counter() - start
    print(f"{checkpoint.name:55} {count / 1e6:6.1f} million  {difference:.1e} {verdict}  {seconds:.0f} s", flush=True)
    return difference if difference <= allowed else None


def random_network(name):
    """Return timm's network with random weights, of which none is 0 or 1 in all places."""
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim <= 1 or float(weight.std()) == 0:
                weight.add_(torch.randn_like(weight) * 0.05)
        calibrate(network)
    return network.eval()


def calibrate(network):
    """Set the statistics of batch normalisation to those of two random images, so that values keep their size."""
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for layer in norms:
        layer.momentum = None  # the mean over all batches
    height, width = network.pretrained_cfg["input_size"][1:]
    network.train()(torch.randn(2, 3, height, width))


def record(checkpoint, difference):
    rows = {}
    if proof.CHECKS.exists():
        with proof.CHECKS.open(newline="") as file:
            rows = {row["architecture"]: row for row in csv.DictReader(file)}
    row = rows.get(checkpoint.architecture, {})
    if row.get("zeromodels") != version("zeromodels"):
        row = {}
    row = {**row, "architecture": checkpoint.architecture, "family": checkpoint.family}
    rows[checkpoint.architecture] = {
        **row,
        "zeromodels": version("zeromodels"),
        os.environ["KERAS_BACKEND"]: f"{difference:.1e}",
    }
    with proof.CHECKS.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))


if __name__ == "__main__":
    main()
