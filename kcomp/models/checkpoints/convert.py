"""Convert a checkpoint to a Keras weights file once, and load it."""

import contextlib
import hashlib
import io
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np

from kcomp.models.checkpoints.files import read_checkpoint
from kcomp.models.checkpoints.headless import count_classes, with_head
from kcomp.models.checkpoints.known import Checkpoint
from kcomp.models.checkpoints.network import build_network, converter_module, network_class
from kcomp.models.checkpoints.proof import prove
from kcomp.models.pretrained import check_space
from kcomp.system.cache import cache_folder
from kcomp.system.files import moved_into

COMPUTED = r".*(num_batches_tracked|relative_position_index|relative_coords_table|attn_mask|attention_bias_idxs)"


def load_checkpoint(checkpoint: Checkpoint, path: Path, network: Callable[[int], keras.Model]) -> keras.Model:
    """Build a network for as many classes as a checkpoint's file has, and load the weights.

    A file without a head gives a network with one logit, which is always 0.

    The first call on a backend converts the file, proves the conversion, and writes the weights to the cache folder.
    The name of the cached file has the number of classes. If it is damaged or cannot be written, the file is converted
    again next time.

    Args:
        checkpoint: Which network.
        path: The checkpoint's file.
        network: Builds the network, for any size of images, from the number of classes.

    Returns:
        The network with its head.

    Raises:
        ValueError: If the file does not fit the network, or the network computes something else than timm.
    """
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    mark = f"{content[:16]}-{keras.backend.backend()}-zeromodels{version('zeromodels')}"
    folder, start = cache_folder() / "weights", f"{checkpoint.name}-{mark}-classes"
    for target in folder.glob(f"{start}*.weights.h5"):
        loaded = network(max(1, int(target.name.removeprefix(start).removesuffix(".weights.h5"))))
        with contextlib.suppress(OSError, KeyError, ValueError):
            loaded.load_weights(target)
            return loaded
    arrays = read_checkpoint(path)
    classes = count_classes(checkpoint, arrays)
    target, loaded = folder / f"{start}{classes}.weights.h5", network(max(1, classes))
    native = build_network(checkpoint, checkpoint.size, classes=max(1, classes))
    transfer(checkpoint, arrays, native, path)
    prove(checkpoint, arrays, native, path)
    with tempfile.TemporaryDirectory() as scratch:
        converted = Path(scratch, "converted.weights.h5")
        check_space(Path(scratch), 2 * sum(array.nbytes for array in native.get_weights()))
        native.save_weights(converted)
        loaded.load_weights(converted)  # adapts the position embeddings of another image size
        with contextlib.suppress(OSError), moved_into(target) as temporary:  # two processes may convert at once
            shutil.copyfile(converted, temporary)
    return loaded


def transfer(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray], network: keras.Model, path: Path) -> None:
    """Set the weights of a network from a checkpoint's arrays. The logits are 0 if these have no head.

    Raises:
        ValueError: If an array is missing, has another shape, or is not used.
    """
    read = ReadArrays(arrays if count_classes(checkpoint, arrays) else with_head(checkpoint, arrays, network))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar of zeromodels
            set_weights(checkpoint.family)(network, read)
    except Exception as error:
        raise ValueError(f"the weights in {path} do not fit {checkpoint.name}: {first_line(error)}") from error
    unused = [name for name in arrays if name not in read.names and not re.fullmatch(COMPUTED, name)]
    if unused:
        raise ValueError(
            f"the weights in {path} do not fit {checkpoint.name}: the network has no place for {', '.join(unused[:3])}"
            f" ({len(unused)} in all)"
        )


def set_weights(family: str) -> Callable[[keras.Model, Mapping[str, np.ndarray]], None]:
    """Return zeromodels' function that sets the weights of a network of this family from timm's arrays."""
    kind, converter = network_class(family), converter_module(family)
    owner = next((base for base in kind.__mro__ if "transfer_from_timm" in vars(base)), kind)
    if owner.__module__.startswith("zeromodels.models."):  # the base class has a function that only raises an error
        function: Callable[[keras.Model, Mapping[str, np.ndarray]], None] = kind.transfer_from_timm
        return function
    functions = [value for value in vars(converter).values() if getattr(value, "__module__", "") == converter.__name__]
    return next(value for value in functions if re.fullmatch(r"transfer_\w+_weights", value.__name__))


class ReadArrays(Mapping[str, np.ndarray]):
    """A mapping that remembers which names were read."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        self.names.add(name)
        return self.arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
