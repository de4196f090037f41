"""Prepare one stage (part of the training) of a recipe for the measurements of `kcomp compare`."""

import contextlib
import importlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kcomp import recipe as recipes
from kcomp.compare.jobs import ProbeJob
from kcomp.compare.sketch import digest
from kcomp.data.batches import Batch
from kcomp.models import set_trainable
from kcomp.recipe import Loaded, Stage
from kcomp.report.console import PlainConsole
from kcomp.runs.folder import Run
from kcomp.training import fit
from kcomp.training.class_weights import class_weights
from kcomp.training.mixed import Mixed
from kcomp.training.optimizer import compile_for_stage
from kcomp.values import parse_values


@dataclass
class ProbeStage:
    """One stage (part of a training) of a recipe, ready to train without dropout and other noise.

    Attributes:
        loaded: The recipe.
        session: The objects of the training, such as network and batches.
        stage: The stage, with its loss and optimizer.
        model: The model that mixes batches and trains the network. It is compiled with this loss and optimizer.
        layers: The batch layers, such as MixUp.
        silenced: The names of the random layers that are turned off.
        digests: A hash of each starting weight, by number and path of the weight.
    """

    loaded: Loaded
    session: fit.Session
    stage: Stage
    model: Mixed
    layers: tuple[Any, ...]
    silenced: list[str]
    digests: dict[str, str]

    @property
    def network(self) -> keras.Model:
        return self.session.network

    def batches(self, count: int) -> list[Batch]:
        """Return the first `count` training batches, from as many epochs as necessary."""
        source = self.session.training
        reader = source.epochs(0, math.ceil(count / len(source)))
        try:
            return list(itertools.islice(reader, count))
        finally:
            reader.close()


def load(job: ProbeJob) -> Loaded:
    loaded = recipes.load(job.recipe)
    return loaded.with_values(**parse_values(loaded.recipe.config, job.assignments))


def build(loaded: Loaded, job: ProbeJob, *, weights: Path | None = None) -> ProbeStage:
    """Return the stage (part of the training) that trains the most weights, ready for measurements.

    Args:
        loaded: The recipe.
        job: The measurement, with seed, fold and folder.
        weights: A file of starting weights. None uses the initial weights of the recipe's model.
    """
    table = loaded.recipe.table(loaded.recipe.config)
    session = fit.prepare(loaded, Run(Path(job.folder)), table, seed=job.seed, fold=job.fold, console=PlainConsole())
    network, digests = session.network, {}
    for number, weight in enumerate(network.weights):
        digests[f"{number}/{weight.path}"] = digest([as_array(weight.value).astype(np.float32)])
    if weights is not None:
        load_weights(network, weights)
    stage = largest(session.stages, network)
    set_trainable(network, stage.train, train_batch_norm=stage.train_batch_norm)
    layers = () if stage.cache_views and not stage.mix_features else session.training.layers
    silenced = remove_noise(network)
    model = Mixed(network, layers, class_weights(stage, session.training.table), target=session.target)
    compile_for_stage(model, stage, network, steps=len(session.training), seed=job.seed)
    return ProbeStage(loaded, session, stage, model, tuple(layers), silenced, digests)


def largest(stages: Sequence[Stage], network: keras.Model) -> Stage:
    counts = []
    for stage in stages:
        set_trainable(network, stage.train, train_batch_norm=stage.train_batch_norm)
        counts.append(sum(math.prod(weight.shape) for weight in network.trainable_weights))
    return [stage for stage, count in zip(stages, counts, strict=True) if count == max(counts)][-1]


def remove_noise(network: keras.Model) -> list[str]:
    """Make random layers, such as Dropout, run in inference mode during training. Return the names of these layers."""
    names = []
    for layer in network._flatten_layers(include_self=False):
        states = [variable for variable in layer.variables if variable.path.endswith("seed_generator_state")]
        if states and not isinstance(layer, keras.Model) and getattr(layer, "_call_has_training_arg", False):
            layer.call = call_without_noise(layer.call)
            names.append(layer.name)
    return names


def call_without_noise(call: Any) -> Any:
    def without_noise(*arguments: Any, training: bool = False, **keywords: Any) -> Any:
        return call(*arguments, training=False, **keywords)

    return without_noise


def save_weights(network: keras.Model, path: Path, *, shaken: bool) -> None:
    """Write the weights of a network as float32, in Keras's order.

    With `shaken`, a weight array whose numbers are all equal, such as zeros, is changed at random.
    """
    draws = np.random.default_rng(0)
    arrays = {}
    for number, weight in enumerate(network.weights):
        value = as_array(weight.value).astype(np.float32)
        if shaken and value.size and (value == value.flat[0]).all():
            fan = math.prod(value.shape[:-1]) if value.ndim > 1 else 100
            noise = (draws.standard_normal(value.shape) / math.sqrt(max(fan, 1))).astype(np.float32)
            value = value * np.exp(noise) if value.flat[0] else noise
        arrays[f"{number:05d}/{weight.path}"] = value
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_weights(network: keras.Model, path: Path) -> None:
    """Load the weights that `save_weights` wrote. Raise ValueError if the network has different shapes."""
    with np.load(path) as file:
        arrays = [file[name] for name in sorted(file.files)]
        names = sorted(file.files)
    own = [(weight.path, tuple(weight.shape)) for weight in network.weights]
    saved = [(name.partition("/")[2], array.shape) for name, array in zip(names, arrays, strict=True)]
    if [shape for _, shape in own] != [shape for _, shape in saved]:
        differing = next(pair for pair in itertools.zip_longest(own, saved) if pair[0] != pair[1])
        raise ValueError(
            f"the recipe's model() builds other weights on {keras.backend.backend()}: {differing[0]}, elsewhere "
            f"{differing[1]}; a recipe must give one network on every backend"
        )
    network.set_weights(arrays)


def as_array(value: Any) -> np.ndarray:
    """Return a tensor as a NumPy array. Floats of 16 bits become float32."""
    if keras.backend.standardize_dtype(value.dtype) in ("bfloat16", "float16"):
        value = keras.ops.cast(value, "float32")
    return np.asarray(keras.ops.convert_to_numpy(value))


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Make the layers that are created inside the `with` block compute in float64.

    On JAX, the process must start with JAX_ENABLE_X64.
    """
    original, floats = keras.layers.Layer.__init__, keras.config.floatx()
    narrowed = getattr(importlib.import_module("keras.src.backend.common.dtypes"), "BIT64_TO_BIT32_DTYPE", {})
    saved = dict(narrowed)

    def with_double_precision(self: Any, *arguments: Any, **keywords: Any) -> None:
        original(self, *arguments, **{**keywords, "dtype": "float64"})

    keras.config.set_floatx("float64")
    try:
        keras.layers.Layer.__init__ = with_double_precision
        narrowed.pop("float64", None)
        yield
    finally:
        keras.layers.Layer.__init__ = original
        narrowed.update(saved)
        keras.config.set_floatx(floats)
