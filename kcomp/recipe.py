"""A recipe: a Python file that describes a training by values and by functions of these values."""

import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcomp import metrics
from kcomp.averaging import EMA, SWA, Snapshots
from kcomp.metrics import Metric
from kcomp.metrics.names import get_fitting
from kcomp.system.code_version import code_version
from kcomp.system.python_files import read_source, run_file
from kcomp.system.shipped import find_recipe, hint_for
from kcomp.values import check_type, check_values, expect_name, value_types, values_as_json

PRECISIONS = ("float32", "tensorfloat32", "mixed_bfloat16", "mixed_float16")
KEEP = ("best", "last")

__all__ = ["Recipe", "Stage"]


@dataclass(frozen=True)
class Stage:
    """A part of the training with its own trainable layers, loss and optimizer.

    Args:
        name: Name of the stage, for the log.
        epochs: Number of epochs, from 1.
        train: The layers to train: "all", "head", a list of layer names, or a regular expression that must match a
            whole layer name. All other layers are frozen. `kcomp layers RECIPE` prints the names.
        optimizer: A Keras optimizer that no other stage uses.
        loss: A Keras loss of labels and logits. None for the default loss of the target (the kind of labels).
        label_smoothing: Share of each label that is divided equally among the classes, from 0 to below 1. Only for
            `loss=None`.
        train_batch_norm: Whether batch normalisation in the trainable layers is trained and updates its statistics.
        class_weights: {class name: weight}. The loss of an image is multiplied by the weight of its class, or by the
            mean weight of its classes. "balanced" gives a class the weight N / (K * n), with K classes, N labels and n
            labels of the class. None gives each class the weight 1.
        weight_decay_on_all: Whether weight decay also applies to biases and to the weights of normalisation layers.
        patience: End the stage early after this many epochs without a better score by the recipe's `metric`, from 1.
            None never ends it early.
        cache_views: How many augmented copies of each image are made. The outputs of the frozen layers are cached for
            these copies, and the epochs use the copies in turn. None makes new augmented images in every epoch.
        mix_features: Whether MixUp and CutMix are applied to the cached outputs. Needs `cache_views`.
        layer_decay: The learning rate and weight decay of a layer are multiplied by layer_decay ** n, where n counts
            the blocks between the layer and the output, from 0 for the head. Above 0 and at most 1, often 0.65 to 0.9
            (Clark et al. 2020, ELECTRA; Bao et al. 2021, BEiT). 1 gives all layers the same rate.
        image_size: Size of the training images of the stage in pixels: one number for a square, or (height, width). At
            most the size of `data.Batches`, whose images are augmented and then made smaller. The network must be
            fully convolutional. Held-out images keep the size of `data.Batches`. None for that size.
        average: `Snapshots`, `EMA` or `SWA` of `kcomp.averaging`, only in the last stage. None for no average.

    Raises:
        ValueError: If an argument has another type or is out of range.

    Examples:
        >>> import keras
        >>> from kcomp.recipe import Stage
        >>> stage = Stage("head", 2, "head", keras.optimizers.AdamW(1e-3))
        >>> stage.name, stage.epochs
        ('head', 2)
    """

    name: str
    epochs: int
    train: str | Sequence[str]
    optimizer: Any
    loss: Any = None
    _: dataclasses.KW_ONLY
    label_smoothing: float = 0.0
    train_batch_norm: bool = False
    class_weights: Mapping[str, float] | str | None = None
    weight_decay_on_all: bool = False
    patience: int | None = None
    cache_views: int | None = None
    mix_features: bool = False
    layer_decay: float = 1.0
    image_size: int | tuple[int, int] | None = None
    average: Snapshots | EMA | SWA | None = None

    def __post_init__(self) -> None:
        for name, kind in value_types(self).items():
            value = getattr(self, name)
            plain = value.item() if callable(getattr(value, "item", None)) else value  # NumPy's numbers to Python's
            check_type(f"stage {self.name!r}: {name}", plain, kind)
        if self.epochs < 1:
            raise ValueError(f"stage {self.name!r} must last at least one epoch; received {self.epochs}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"stage {self.name!r}: label_smoothing must be from 0 to below 1; received {self.label_smoothing}"
            )
        if self.label_smoothing and self.loss is not None:
            raise ValueError(f"stage {self.name!r}: set label_smoothing in the loss, or leave out the loss")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(
                f"stage {self.name!r}: layer_decay must be above 0 and at most 1; received {self.layer_decay}"
            )
        for name, unit in (("patience", "epoch"), ("cache_views", "view")):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"stage {self.name!r}: {name} must be at least 1 {unit}, or None; received {value}")
        if self.mix_features and self.cache_views is None:
            raise ValueError(
                f"stage {self.name!r}: mix_features needs features; give cache_views, such as cache_views={self.epochs}"
            )
        if isinstance(self.average, SWA) and self.average.from_epoch + self.average.every > self.epochs:
            raise ValueError(
                f"stage {self.name!r}: {self.average} must take at least two of the stage's {self.epochs} epochs"
            )
        check_train(self.name, self.train)
        if isinstance(self.class_weights, str) and self.class_weights != "balanced":
            raise ValueError(
                f"stage {self.name!r}: class_weights must be 'balanced', a weight by class name, or None; "
                f"received {self.class_weights!r}"
            )


def check_train(stage: str, train: str | Sequence[str]) -> None:
    """Raise ValueError unless `train` is a valid regular expression or a list of at least one layer name."""
    if not isinstance(train, str):
        if not train or not all(isinstance(name, str) for name in train):
            raise ValueError(f"stage {stage!r}: a list in train holds at least one name of a layer; received {train!r}")
        return
    try:
        re.compile(train)
    except re.error as error:
        raise ValueError(f"stage {stage!r}: train={train!r} is not a regular expression: {error}") from error


@dataclass(frozen=True)
class Recipe:
    """The values of a training (the config), and functions that build the parts of the training from the config.

    Args:
        config: An instance of a frozen dataclass. The option `--set name=value` changes a field.
        table: Function. table(config) returns a `data.Table`: the images with labels, and the fold of each image.
        batches: Function. batches(config, rows, training, seed) returns the `data.Batches` of `rows`, a part of the
            table. `training` is False for images that the network only predicts.
        model: Function. model(config, target) returns a Keras model that computes `target.outputs` logits of an image.
        stages: Function. stages(config) returns a list of `Stage`, in training order.
        test: Function. test(config) returns the test images that `kcomp predict` uses without the option --test. None
            if there are none.
        callbacks: Function. callbacks(config) returns new Keras callbacks. It is called for each stage. If a callback
            has the methods get_state() and set_state(state), its state is saved with the run: numbers, texts, None,
            lists and dicts. None for no callbacks.
        views: Function. views(config) returns a list of `kcomp.views.View`, variants of a test image whose predictions
            are averaged. None to predict the image alone.
        sweep: Function. sweep() returns a list of dicts of values. `kcomp sweep` trains the recipe with each dict. None
            if the recipe has no such list.
        precision: "float32", "tensorfloat32", "mixed_bfloat16" or "mixed_float16".
        metric: A name such as "roc_auc", a `metrics.Metric`, or a function of labels and predictions that returns a
            float. It chooses the best epoch. None for the default metric of the target (the kind of labels).
        keep: "best" keeps the weights of the epoch with the best score. "last" keeps the weights of the last epoch.

    Raises:
        TypeError: If `config` is not an instance of a dataclass.
        ValueError: If `metric`, `keep` or `precision` is unknown.

    Examples:
        >>> import dataclasses
        >>> import keras
        >>> from kcomp import data, models
        >>> from kcomp.recipe import Recipe, Stage
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     epochs: int = 2
        >>> def table(config):
        ...     return data.stratified_folds(data.sklearn_digits(), 5)
        >>> def batches(config, rows, training, seed):
        ...     return data.Batches(rows, 32, batch_size=32, training=training, seed=seed)
        >>> def model(config, target):
        ...     return models.classifier(models.efficientnet_lite0(32, weights=None), target)
        >>> def stages(config):
        ...     return [Stage("head", config.epochs, "head", keras.optimizers.AdamW(1e-3))]
        >>> recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages)
        >>> recipe.stages(recipe.config)[0].epochs
        2
    """

    config: Any
    _: dataclasses.KW_ONLY
    table: Callable[..., Any]
    batches: Callable[..., Any]
    model: Callable[..., Any]
    stages: Callable[..., Sequence[Stage]]
    test: Callable[..., Any] | None = None
    callbacks: Callable[..., Sequence[Any]] | None = None
    views: Callable[..., Sequence[Any]] | None = None
    sweep: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    precision: str = "float32"
    metric: Metric | str | Callable[..., float] | None = None
    keep: str = "best"

    def __post_init__(self) -> None:
        if not dataclasses.is_dataclass(self.config) or isinstance(self.config, type):
            raise TypeError(f"a recipe's config must be an instance of a dataclass; received {self.config!r}")
        if self.metric is not None:
            metrics.get(self.metric)
        if self.keep not in KEEP:
            raise ValueError(f"keep must be one of {', '.join(KEEP)}; received {self.keep!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; received {self.precision!r}")

    def metric_of(self, target: Any) -> Metric:
        """Return the recipe's metric, or else the target's default metric. Raise ValueError if it does not fit the
        target.
        """
        return get_fitting(target.default_metric if self.metric is None else self.metric, target)

    def with_values(self, **changes: Any) -> "Recipe":
        """Return a copy with other values in the config. Raise ValueError for an unknown name or a wrong type."""
        for name, value in changes.items():
            check_type(name, value, value_types(self.config)[expect_name(name, self.config)])
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **changes))


@dataclass(frozen=True)
class Loaded:
    """A recipe that was loaded from a file, with its source.

    Attributes:
        recipe: The recipe.
        name: The name of the recipe file without `.py`.
        sources: Source texts by file name: first the recipe file, then the files in its folder that it imports.
    """

    recipe: Recipe
    name: str
    sources: Mapping[str, str]

    def with_values(self, **changes: Any) -> "Loaded":
        """Return a copy with other values in the recipe's config."""
        return dataclasses.replace(self, recipe=self.recipe.with_values(**changes))

    def fingerprint(self) -> str:
        """Return a hash, as 12 hexadecimal digits, of the sources, the values and kcomp's code.

        It is the same on all backends.
        """
        parts = [code_version(), json.dumps(values_as_json(self.recipe.config), sort_keys=True)]
        parts += [f"{name}\n{text}" for name, text in sorted(self.sources.items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


_beside: set[str] = set()  # names of the modules that recipe files imported from their own folders


def load(path: str | Path) -> Loaded:
    """Run a recipe file, and return the recipe with its source. Keras's backend must be chosen before.

    `path` is the path of the file, or the name of a recipe that comes with kcomp.
    """
    path = find_recipe(Path(path))
    if not path.is_file():
        raise FileNotFoundError(f"no recipe at {path}; name a Python file that defines `recipe`; {hint_for(path)}")
    for name in sys.modules.keys() & _beside:  # modules of an earlier recipe may have the same names
        del sys.modules[name]
    before = set(sys.modules)
    module = run_file(path)
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} must define `recipe = Recipe(...)`; found {type(recipe).__name__}")
    beside, folder = {path.name: read_source(path)}, path.resolve().parent
    for name in sorted(set(sys.modules) - before):
        source = Path(getattr(sys.modules[name], "__file__", None) or "")
        # compiled modules may have a relative file name, which would resolve to the working folder
        if not source.is_absolute() or source.suffix != ".py" or not source.resolve().is_relative_to(folder):
            continue
        place = source.resolve().relative_to(folder).parts
        if len(place) == 1:
            beside.setdefault(source.name, read_source(source))
            _beside.add(name)
        elif place[0] == name.partition(".")[0] != "kcomp":
            raise ValueError(f"{path} imports {name} from a folder; modules that a recipe imports must lie beside it")
    check_values(recipe.config)
    return Loaded(recipe, path.stem, beside)
