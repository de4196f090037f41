"""Find a checkpoint's file, and read its arrays without executing code from it."""

from pathlib import Path
from typing import Any

import numpy as np

HUB_FILE = "model.safetensors"
UNWRAPPED = ("state_dict_ema", "state_dict", "model_ema", "model")  # what training programs put around the weights


def checkpoint_file(name: str, file: str | Path | None) -> Path:
    """Return the path of a checkpoint's file. If `file` is None, fetch it from the Hugging Face hub once.

    Raises:
        FileNotFoundError: If `file` does not exist.
        ModuleNotFoundError: If huggingface_hub is needed and not installed.
        ConnectionError: If the hub cannot be reached. The message says which file to get.
    """
    if file is not None:
        path = Path(file).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"the weights file {path} of {name} does not exist")
        return path
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(f"timm/{name}", HUB_FILE))
    except Exception as error:  # offline, a proxy, no such file: the way out is the same
        address = f"https://huggingface.co/timm/{name}/resolve/main/{HUB_FILE}"
        raise ConnectionError(
            f"the weights of {name} could not be fetched; get {address} elsewhere and pass file=PATH"
        ) from error


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a checkpoint by name, floats as float32.

    A file of a training program may hold a dictionary with the weights in it, and their moving average (EMA). The
    average is preferred. The prefix "module." of parallel training is removed.

    Raises:
        ValueError: If the file is no safetensors or PyTorch file, or holds no weights.
    """
    try:
        content = read_safetensors(path) if path.suffix == ".safetensors" else read_pytorch(path)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a readable checkpoint, a .safetensors or a PyTorch file of weights") from error
    for key in UNWRAPPED:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    arrays = {name.removeprefix("module."): as_array(value) for name, value in content.items()}
    weights = {name: array for name, array in arrays.items() if array is not None}
    if not weights:
        raise ValueError(f"{path} holds no weights; its entries are {', '.join(list(content)[:4])}")
    return weights


def read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(path)


def read_pytorch(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        raise ModuleNotFoundError(f"reading {path.name} needs PyTorch; run: pip install 'kcomp[torch]'") from None
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def as_array(value: Any) -> np.ndarray | None:
    """Return an array or a PyTorch tensor as an array, floats as float32. Return None for anything else."""
    if not isinstance(value, np.ndarray):
        if not hasattr(value, "numpy"):
            return None
        value = (value.float() if value.is_floating_point() else value).numpy()
    return value if value.dtype.kind in "iub" else value.astype(np.float32)
