"""Find a preset of keras-hub, and explain what is missing."""

import contextlib
import difflib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILES = "config.json, image_converter.json and the weights (model.weights.h5)"
INSTALL = "run: pip install 'kcomp[hub]' && pip install --no-deps keras-hub==0.32.0"


def import_keras_hub() -> Any:
    """Return the module keras_hub. Raise ModuleNotFoundError if it or one of its dependencies is not installed."""
    try:
        return importlib.import_module("keras_hub")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"presets of keras-hub need the package {error.name}; {INSTALL}") from None


def find_preset(preset: str | Path, weights: str | None) -> str:
    """Return the handle of a preset for keras-hub's functions.

    Args:
        preset: The name of a preset of keras-hub, a handle with "://", or a folder.
        weights: "pretrained", or None if the weights are not needed.

    Raises:
        ValueError: If there is no preset of this name.
        FileNotFoundError: If a file is missing in the folder.
    """
    folder = Path(preset).expanduser()
    if folder.is_dir():
        names = [path.name for path in folder.iterdir()]
        has_weights = any(name.endswith((".weights.h5", ".safetensors")) for name in names)
        if "config.json" not in names or (weights and not has_weights):
            raise FileNotFoundError(f"the folder {folder} is no preset of keras-hub: it needs {FILES}")
        return str(folder)
    if "://" in str(preset):
        return str(preset)
    known = import_keras_hub().models.Backbone.presets
    if str(preset) not in known:
        near = difflib.get_close_matches(str(preset), known, 4, 0.5)
        raise ValueError(
            f"there is no folder and no preset of keras-hub {str(preset)!r}; near names are {', '.join(near) or 'none'}"
        )
    return str(preset)


@contextlib.contextmanager
def download_errors(preset: str) -> Iterator[None]:
    """Inside a `with` block, replace an error for a preset that is no folder by one that says what to get."""
    try:
        yield
    except Exception as error:  # offline, a proxy, no account: the way out is the same
        if Path(preset).is_dir():
            raise
        raise ConnectionError(
            f"the preset {preset} could not be loaded: {first_line(error)}\n"
            f"get {FILES} from {address(preset)}, put them into a folder and pass its path"
        ) from error


def address(preset: str) -> str:
    """Return the web page with the files of a preset."""
    handle = import_keras_hub().models.Backbone.presets.get(preset, {}).get("kaggle_handle", preset)
    scheme, _, path = handle.partition("://")
    if scheme == "kaggle":
        return f"https://www.kaggle.com/models/{'/'.join(path.split('/')[:4])}"
    return f"https://huggingface.co/{path}" if scheme == "hf" else handle


def first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]
