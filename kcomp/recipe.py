"""A recipe: the values worth varying and the functions of them that make an experiment. Imports no Keras."""

import dataclasses
import hashlib
import importlib.util
import json
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kcomp
from kcomp.averaging import EMA, SWA, Snapshots
from kcomp.metrics import scores
from kcomp.values import check_type, known, value_types, values_as_json, values_from_json

PRECISIONS = ("float32", "tensorfloat32", "mixed_bfloat16", "mixed_float16")
EXTRAS = {"keras_cv": "keras-cv", "tensorflow": "keras-cv", "tensorflow_datasets": "tfds", "array_record": "tfds"}


@dataclass(frozen=True)
class Stage:
    """A part of the training with one set of trainable layers, one loss and one new optimizer.

    trainable:        a regular expression; the layers whose whole path matches are trained, the others frozen; below
                      the first that is trained they run in inference mode, without dropout or drop connect.
    loss, optimizer:  Keras objects; the loss takes logits and one-hot labels.
    train_batch_norm: let batch normalisation in the trainable layers learn and update its statistics.
    class_weights:    the loss of a row is multiplied by the sum of its (mixed) labels times these weights, given by
                      class name; "balanced" takes rows / (classes * rows of the class), as scikit-learn does.
    weight_decay_on_all: let the optimizer's weight decay reach biases and normalisation too.
    patience:         end the stage after so many epochs without a better score by the recipe's `monitor`; None never.
    cache_views:      None trains on the images. A number V computes the output of the layers below the first trained
                      one once, for V augmented views of each image in turn, keeps it in the cache folder, and trains
                      the rest on it: with V >= epochs the same as without, but for the batches' mixing, which is left
                      out.
    mix_features:     mix that output as the batches' MixUp and CutMix layers say, their boxes at its height and width.
    average:          in the last stage, keep Snapshots, whose predictions are averaged, or an average of weights (EMA,
                      SWA) where that scores better out of fold; see kcomp.averaging.
    """

    name: str
    epochs: int
    trainable: str
    loss: Any
    optimizer: Any
    _: dataclasses.KW_ONLY
    train_batch_norm: bool = False
    class_weights: Mapping[str, float] | str | None = None
    weight_decay_on_all: bool = False
    patience: int | None = None
    cache_views: int | None = None
    mix_features: bool = False
    average: Snapshots | EMA | SWA | None = None

    def __post_init__(self) -> None:
        for name, kind in value_types(self).items():
            value = getattr(self, name)
            plain = value.item() if callable(getattr(value, "item", None)) else value  # of NumPy's or pandas's numbers
            check_type(f"stage {self.name!r}: {name}", plain, kind)
        if self.epochs < 1:
            raise ValueError(f"stage {self.name!r} must last at least one epoch; received {self.epochs}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(
                f"stage {self.name!r}: patience must be at least 1 epoch, or None; received {self.patience}"
            )
        if self.cache_views is not None and self.cache_views < 1:
            raise ValueError(
                f"stage {self.name!r}: cache_views must be at least 1 view, or None; received {self.cache_views}"
            )
        if self.mix_features and self.cache_views is None:
            raise ValueError(
                f"stage {self.name!r}: mix_features needs features; give cache_views, such as cache_views={self.epochs}"
            )
        if isinstance(self.average, SWA) and self.average.from_epoch + self.average.every > self.epochs:
            raise ValueError(
                f"stage {self.name!r}: {self.average} must take at least two of the stage's {self.epochs} epochs"
            )
        try:
            re.compile(self.trainable)
        except re.error as error:
            raise ValueError(
                f"stage {self.name!r}: trainable={self.trainable!r} is not a regular expression: {error}"
            ) from error
        if isinstance(self.class_weights, str) and self.class_weights != "balanced":
            raise ValueError(
                f"stage {self.name!r}: class_weights must be 'balanced', a weight by class name, or None; "
                f"received {self.class_weights!r}"
            )


@dataclass(frozen=True)
class Recipe:
    """A config and the functions of it that make an experiment. Required: table(config), batches(config, rows,
    training, seed), model(config, classes) and stages(config, steps). Optional:

    test:      test(config) returns the rows `kcomp predict` takes when no --test is given.
    callbacks: callbacks(config) returns Keras callbacks, made anew for each stage; see kcomp.tracking for those that
               know their run.
    views:     views(config) returns the views that `kcomp predict` averages; see kcomp.views.
    sweep:     sweep() gives dicts of values, one for each variant `kcomp sweep` trains where no --set gives a list.
    precision: float32, tensorfloat32, mixed_bfloat16 or mixed_float16; see kcomp.engine.precision.
    monitor:   the score whose best epoch's weights are kept; None keeps the last epoch's, so that the out-of-fold
               score was not chosen on.
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
    monitor: str | None = "log_loss"

    def __post_init__(self) -> None:
        if not dataclasses.is_dataclass(self.config) or isinstance(self.config, type):
            raise TypeError(f"a recipe's config must be an instance of a dataclass; received {self.config!r}")
        if self.monitor is not None and self.monitor not in scores.NAMES:
            raise ValueError(f"monitor must be one of {', '.join(scores.NAMES)}, or None; received {self.monitor!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; received {self.precision!r}")

    def with_values(self, **changes: Any) -> "Recipe":
        """A variant with other values; a name that the values lack is a ValueError that gives the nearest."""
        for name, value in changes.items():
            check_type(name, value, value_types(self.config)[known(name, self.config)])
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **changes))


@dataclass(frozen=True)
class Loaded:
    """A recipe with where it came from: `name` is the file's stem, `sources` the text of it and of the files beside
    it that it imports, by file name, the recipe's own first."""

    recipe: Recipe
    name: str
    sources: Mapping[str, str]

    def with_values(self, **changes: Any) -> "Loaded":
        return dataclasses.replace(self, recipe=self.recipe.with_values(**changes))

    def fingerprint(self) -> str:
        """12 hexadecimal digits of sources, final values and kcomp's version; the same on every backend."""
        parts = [kcomp.__version__, json.dumps(values_as_json(self.recipe.config), sort_keys=True)]
        parts += [f"{name}\n{text}" for name, text in sorted(self.sources.items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


_beside: set[str] = set()  # names of modules that recipes imported from their own folders


def load(path: str | Path) -> Loaded:
    """Run a recipe file and return its `recipe`. Keras must not have been imported before the backend is chosen."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no recipe at {path}; name a Python file that defines `recipe`")
    for name in sys.modules.keys() & _beside:  # an earlier recipe's helpers may bear the same names
        del sys.modules[name]
    before = set(sys.modules)
    module = run_file(path)
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} must define `recipe = Recipe(...)`; found {type(recipe).__name__}")
    beside, folder = {path.name: read_source(path)}, path.resolve().parent
    for name in sorted(set(sys.modules) - before):
        source = Path(getattr(sys.modules[name], "__file__", None) or "")
        # compiled modules may claim a bare file name, which would seem to lie in the working folder
        if not source.is_absolute() or source.suffix != ".py" or not source.resolve().is_relative_to(folder):
            continue
        place = source.resolve().relative_to(folder).parts
        if len(place) == 1:
            beside.setdefault(source.name, read_source(source))
            _beside.add(name)
        elif place[0] == name.partition(".")[0] != "kcomp":
            raise ValueError(
                f"{path} imports {name} from a folder; what a recipe imports of its own must lie beside it"
            )
    check_values(recipe)
    return Loaded(recipe, path.stem, beside)


def check_values(recipe: Recipe) -> None:
    """Raise ValueError unless every value is of its declared type and survives config.json: after hours of training
    `kcomp predict` reads them from there."""
    for name, kind in value_types(recipe.config).items():
        check_type(name, getattr(recipe.config, name), kind)
    kept = values_from_json(recipe.config, values_as_json(recipe.config))
    lost = [name for name, value in kept.items() if value != getattr(recipe.config, name)]
    if lost:
        raise ValueError(
            f"the value {lost[0]} cannot be kept in a file; use numbers, texts, booleans, None or tuples of them"
        )


def run_file(path: Path) -> types.ModuleType:
    """Import a file by path, with its folder importable, as any script has it."""
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; a recipe's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except (ImportError, NameError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not load: {type(error).__name__}: {error}{extra_for(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def extra_for(error: BaseException | None) -> str:
    """Which of kcomp's extras brings the package whose import failed; empty where none does."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # KerasCV hides TensorFlow's name behind an error of its own
        extra = EXTRAS.get((getattr(error, "name", None) or "").partition(".")[0])
        if isinstance(error, ImportError) and extra:
            return f"; run: pip install 'kcomp[{extra}]'"
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return ""


def read_source(path: Path) -> str:
    return path.read_text(encoding="utf-8").replace("\r\n", "\n")
