"""A recipe: the values worth varying and the functions of them that make an experiment. Imports no Keras."""

import dataclasses
import difflib
import hashlib
import importlib.util
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kcomp
from kcomp import scores

EXTRAS = {"keras_cv": "keras-cv", "tensorflow": "keras-cv", "tensorflow_datasets": "tfds", "array_record": "tfds"}


@dataclass(frozen=True, kw_only=True)
class StageOptions:
    """What a stage may say beside its name, length, layers, loss and optimizer.

    train_batch_norm: let batch normalisation in the trainable layers learn and update its statistics.
    class_weights:    the loss of a row is multiplied by the sum of its (mixed) labels times these weights, given by
                      class name; "balanced" takes rows / (classes * rows of the class), as scikit-learn does.
    weight_decay_on_all: let the optimizer's weight decay reach biases and normalisation too.
    patience:         end the stage after so many epochs without a better score; None never does.
    """

    train_batch_norm: bool = False
    class_weights: Mapping[str, float] | str | None = None
    weight_decay_on_all: bool = False
    patience: int | None = None


@dataclass(frozen=True)
class Stage(StageOptions):
    """A part of the training with one set of trainable layers, one loss and one new optimizer.

    trainable: a regular expression; the layers whose whole path matches are trained, the others frozen.
    """

    name: str
    epochs: int
    trainable: str
    loss: Any
    optimizer: Any

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"stage {self.name!r} must last at least one epoch; received {self.epochs}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(
                f"stage {self.name!r}: patience must be at least 1 epoch, or None; received {self.patience}"
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
    """Values and the functions of them. Required: table(values), batches(values, rows, training, seed),
    model(values, classes) and stages(values, steps). Optional:

    test:      test(values) gives the rows `kcomp predict` takes when no --test is given.
    callbacks: callbacks(values) gives Keras callbacks, made anew for each stage.
    views:     views(values) gives the views `kcomp predict` averages; see kcomp.views.
    precision: a Keras dtype policy: float32, mixed_bfloat16 or mixed_float16.
    monitor:   the score whose best epoch's weights are kept; None keeps the last epoch's, so that the out-of-fold
               score was not chosen on.
    """

    values: Any
    _: dataclasses.KW_ONLY
    table: Callable[..., Any]
    batches: Callable[..., Any]
    model: Callable[..., Any]
    stages: Callable[..., Sequence[Stage]]
    test: Callable[..., Any] | None = None
    callbacks: Callable[..., Sequence[Any]] | None = None
    views: Callable[..., Sequence[Any]] | None = None
    precision: str = "float32"
    monitor: str | None = "log_loss"

    def __post_init__(self) -> None:
        if not dataclasses.is_dataclass(self.values) or isinstance(self.values, type):
            raise TypeError(f"a recipe's values must be an instance of a dataclass; received {self.values!r}")
        if self.monitor is not None and self.monitor not in scores.NAMES:
            raise scores.nearest_error(self.monitor)

    def with_values(self, **changes: Any) -> "Recipe":
        """A variant with other values; a name that the values lack is a ValueError that gives the nearest."""
        for name, value in changes.items():
            check_type(name, value, value_types(self.values)[known(name, self.values)])
        return dataclasses.replace(self, values=dataclasses.replace(self.values, **changes))


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
        parts = [kcomp.__version__, json.dumps(values_as_json(self.recipe.values), sort_keys=True)]
        parts += [f"{name}\n{text}" for name, text in sorted(self.sources.items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def load(path: str | Path) -> Loaded:
    """Run a recipe file and return its `recipe`. Keras must not have been imported before the backend is chosen."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no recipe at {path}; name a Python file that defines `recipe`")
    before = set(sys.modules)
    module = run_file(path)
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path} must define `recipe = Recipe(...)`; found {type(recipe).__name__}")
    beside = {path.name: read_source(path)}
    for name in sorted(set(sys.modules) - before):
        source = Path(getattr(sys.modules[name], "__file__", None) or "")
        # compiled modules may claim a bare file name, which would seem to lie in the working folder
        if source.is_absolute() and source.suffix == ".py" and source.resolve().parent == path.resolve().parent:
            beside.setdefault(source.name, read_source(source))
    return Loaded(recipe, path.stem, beside)


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
    while error is not None:  # KerasCV hides TensorFlow's name behind an error of its own
        extra = EXTRAS.get((getattr(error, "name", None) or "").partition(".")[0])
        if isinstance(error, ImportError) and extra:
            return f"; run: pip install 'kcomp[{extra}]'"
        error = error.__cause__ or error.__context__
    return ""


def read_source(path: Path) -> str:
    return path.read_text(encoding="utf-8").replace("\r\n", "\n")


def value_types(values: Any) -> dict[str, Any]:
    """The declared type of each value, by name."""
    hints = typing.get_type_hints(type(values))
    return {field.name: hints[field.name] for field in dataclasses.fields(values)}


def values_as_json(values: Any) -> dict[str, Any]:
    """The values as JSON keeps them; raises TypeError for a value that JSON cannot hold."""
    return json.loads(json.dumps(dataclasses.asdict(values)))


def values_from_json(values: Any, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that `values_as_json` wrote, with tuples where `values` declares them."""
    declared = value_types(values)
    return {
        known(name, values): tuple(value) if isinstance(value, list) and origin(declared[name]) is tuple else value
        for name, value in kept.items()
    }


def parse_values(values: Any, assignments: Sequence[str]) -> dict[str, Any]:
    """Turn `name=value` texts into values of the declared types; ValueError for a wrong name or value."""
    declared, changes = value_types(values), {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set takes name=value; received {assignment!r}")
        changes[name] = parse_value(name, text, declared[known(name, values)])
    return changes


def known(name: str, values: Any) -> str:
    names = [field.name for field in dataclasses.fields(values)]
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names)}"
        raise ValueError(f"the recipe has no value {name!r}; {hint}")
    return name


def parse_value(name: str, text: str, declared: Any) -> Any:
    """Read one text as `declared`: str, int, float, bool (true or false), X | None (none), tuple[X, ...] (commas)."""
    options = typing.get_args(declared)
    if origin(declared) in (typing.Union, types.UnionType):
        if text.lower() == "none" and type(None) in options:
            return None
        return parse_value(name, text, next(option for option in options if option is not type(None)))
    if origin(declared) is tuple:
        inner = options[0] if options else str
        return tuple(parse_value(name, part.strip(), inner) for part in text.split(",") if part.strip())
    if declared is bool:
        if text.lower() in ("true", "1", "yes"):
            return True
        if text.lower() in ("false", "0", "no"):
            return False
        raise ValueError(f"{name} must be true or false; received {text!r}")
    if declared in (int, float, str):
        try:
            return declared(text)
        except ValueError:
            raise ValueError(f"{name} must be {describe(declared)}; received {text!r}") from None
    raise ValueError(f"{name} is declared as {describe(declared)}, which --set cannot read; change the recipe")


def check_type(name: str, value: Any, declared: Any) -> None:
    """Raise ValueError unless `value` is of the declared type; a whole number serves as a float."""
    kinds = typing.get_args(declared) if origin(declared) in (typing.Union, types.UnionType) else (declared,)
    for kind in kinds:
        plain = origin(kind) or kind
        if plain is Any or (plain is float and isinstance(value, int) and not isinstance(value, bool)):
            return
        if isinstance(value, plain) and not (isinstance(value, bool) and plain in (int, float)):
            return
    raise ValueError(f"{name} must be {describe(declared)}; received {value!r}")


def origin(declared: Any) -> Any:
    return typing.get_origin(declared)


def describe(declared: Any) -> str:
    """A type as `kcomp train RECIPE --help` prints it."""
    return str(getattr(declared, "__name__", declared)) if not typing.get_args(declared) else str(declared)
