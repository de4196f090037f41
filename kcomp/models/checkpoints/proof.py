"""Prove that a converted network computes what timm computes."""

import csv
import importlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kcomp.models.checkpoints.headless import count_classes, pooled_features
from kcomp.models.checkpoints.known import Checkpoint

TOLERANCE = {"torch": 1e-4, "jax": 2e-4}  # relative to the largest value; float32 gives about 1e-5
CHECKS = Path(__file__).with_name("checks.csv")


def prove(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray], network: keras.Model, path: Path) -> None:
    """Compare a network with timm's, or look up a stored comparison if timm is not installed.

    The logits are compared, or the pooled features if the file has no head.

    Raises:
        ValueError: If the results differ by more than TOLERANCE, or there is no stored comparison.
    """
    backend = keras.backend.backend()
    try:
        timm = importlib.import_module("timm")
    except Exception as error:  # noqa: BLE001  (not installed, or its torchvision does not fit PyTorch)
        check_stored(checkpoint, backend, next(iter(str(error).strip().splitlines()), type(error).__name__))
        return
    difference = largest_difference(timm, checkpoint, arrays, network)
    if not difference <= TOLERANCE[backend]:
        results = "logits" if count_classes(checkpoint, arrays) else "features"
        raise ValueError(
            f"the network of {checkpoint.name} on {backend} does not compute what timm computes from {path}: "
            f"the {results} differ by {difference:.1e}, allowed is {TOLERANCE[backend]:.0e}"
        )


def largest_difference(timm: Any, checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray], network: Any) -> float:
    """Return the largest difference of timm's results and a network's for two random images, over the largest result.

    The results are logits, or pooled features if the arrays have no head.
    """
    import torch

    classes = count_classes(checkpoint, arrays)
    peer = timm.create_model(checkpoint.name, pretrained=False, num_classes=classes).eval()
    peer.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, strict=False)
    images = np.random.default_rng(0).normal(size=(2, *network.input_shape[1:])).astype(np.float32)
    with torch.no_grad():
        expected = peer(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    ours = keras.Model(network.input, pooled_features(network)) if not classes else network
    return float(np.abs(ours.predict_on_batch(images) - expected).max() / np.abs(expected).max())


def check_stored(checkpoint: Checkpoint, backend: str, reason: str) -> None:
    """Raise ValueError unless checks.csv has a comparison of this network, backend and version of zeromodels.

    reason: why timm cannot be imported.
    """
    with CHECKS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["architecture"] == checkpoint.architecture]
    if not any(row["zeromodels"] == version("zeromodels") and row[backend] for row in rows):
        raise ValueError(
            f"{checkpoint.name} was not compared with timm for zeromodels {version('zeromodels')} on {backend}, and "
            f"timm cannot be imported here ({reason}); run: pip install timm"
        )
