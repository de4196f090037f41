"""Recipes: loading, values, fingerprints, and errors that help. None of it imports Keras."""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass

import conftest
import numpy as np
import pytest

from kcomp import recipe as recipes
from kcomp import values as recipe_values
from kcomp.recipe import Recipe, Stage

SOURCE = """
from dataclasses import dataclass
from kcomp.recipe import Recipe
from beside import size

@dataclass(frozen=True)
class Config:
    image_size: int = size
    peak_rate: float = 1e-3
    name: str = "a"
    flip: bool = True
    limit: int | None = None
    sizes: tuple[int, ...] = (1, 2)

def nothing(*arguments): ...

recipe = Recipe(Config(), table=nothing, batches=nothing, model=nothing, stages=nothing)
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "beside.py").write_text("size = 224\n")
    (tmp_path / "mine.py").write_text(SOURCE)
    yield tmp_path / "mine.py"
    sys.modules.pop("beside", None)


def test_values_are_read_as_declared(path):
    values = recipes.load(path).recipe.config
    texts = ["image_size=96", "peak_rate=2", "name=b=c", "flip=false", "limit=none", "sizes=3,4"]
    assert recipe_values.parse_values(values, texts) == {
        "image_size": 96, "peak_rate": 2.0, "name": "b=c", "flip": False, "limit": None, "sizes": (3, 4),
    }  # fmt: skip
    assert recipe_values.parse_values(values, ["limit=7"]) == {"limit": 7}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_sise=96", "no value 'image_sise'; did you mean 'image_size'"),
        ("zzz=1", "it has image_size, peak_rate"),
        ("image_size=9.5", "image_size must be int; received '9.5'"),
        ("flip=maybe", "true or false; received 'maybe'"),
        ("image_size", "name=value; received 'image_size'"),
        ("sizes=1,x", "sizes must be int; received 'x'"),
    ],
)
def test_wrong_values_are_explained(path, text, message):
    with pytest.raises(ValueError, match=message):
        recipe_values.parse_values(recipes.load(path).recipe.config, [text])


def test_with_values_checks_too(path):
    recipe = recipes.load(path).recipe
    assert recipe.with_values(image_size=96, peak_rate=1).config.image_size == 96
    assert recipe.config.image_size == 224
    for changes, message in (({"image_sise": 1}, "did you mean"), ({"image_size": "9"}, "must be int; received '9'")):
        with pytest.raises(ValueError, match=message):
            recipe.with_values(**changes)
    with pytest.raises(ValueError, match="must be int; received True"):
        recipe.with_values(image_size=True)


def test_the_fingerprint_covers_source_values_and_what_is_imported_beside_it(path):
    first = recipes.load(path)
    assert first.sources.keys() == {"mine.py", "beside.py"}
    found = {first.fingerprint(), first.with_values(flip=False).fingerprint()}
    path.write_text(SOURCE + "# changed\n")
    sys.modules.pop("beside")
    found.add(recipes.load(path).fingerprint())
    (path.parent / "beside.py").write_text("size = 224 \n")
    sys.modules.pop("beside")
    found.add(recipes.load(path).fingerprint())
    assert len(found) == 4 and all(len(digits) == 12 for digits in found)


def test_the_fingerprint_is_the_same_elsewhere_and_with_other_line_ends(path, tmp_path):
    first = recipes.load(path).fingerprint()
    sys.modules.pop("beside")
    other = tmp_path / "other"
    other.mkdir()
    (other / "beside.py").write_text("size = 224\n")
    (other / "mine.py").write_bytes(SOURCE.replace("\n", "\r\n").encode())
    assert recipes.load(other / "mine.py").fingerprint() == first


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:\n", "line 1: invalid syntax"),
        ("x = 1\n", "must define `recipe = Recipe"),
        ("import no_such_thing\n", "does not load: ModuleNotFoundError: No module named 'no_such_thing'"),
        (SOURCE.replace("table=nothing", "tabel=nothing"), "unexpected keyword argument 'tabel'"),
        (SOURCE.replace(", stages=nothing", ""), "missing 1 required keyword-only argument: 'stages'"),
        (SOURCE.replace("stages=nothing", "stages=nothing, metric='auc'"), "no metric 'auc'; did you mean 'roc_auc'"),
        (
            SOURCE.replace("stages=nothing", "stages=nothing, keep='first'"),
            "keep must be one of best, last; received 'first'",
        ),
    ],
)
def test_a_recipe_that_does_not_load(path, source, message):
    path.write_text(source)
    with pytest.raises(ValueError, match=message):
        recipes.load(path)
    with pytest.raises(FileNotFoundError, match="no recipe at"):
        recipes.load(path.parent / "none.py")


@pytest.mark.parametrize(("package", "extra"), [("keras_cv", "keras-cv"), ("tensorflow_datasets", "tfds")])
def test_a_missing_extra_is_named(path, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    path.write_text(f"import {package}\n")
    with pytest.raises(ValueError, match=rf"run: pip install 'kcomp\[{extra}\]'"):
        recipes.load(path)


def test_two_recipes_in_one_process_keep_their_own_helpers(path, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "beside.py").write_text("size = 96\n")
    (other / "mine.py").write_text(SOURCE)
    first, second = recipes.load(path), recipes.load(other / "mine.py")
    assert (first.recipe.config.image_size, second.recipe.config.image_size) == (224, 96)
    assert second.sources["beside.py"] == "size = 96\n" and first.fingerprint() != second.fingerprint()


def test_helpers_in_a_folder_are_refused_for_they_would_not_be_kept(path, tmp_path):
    (tmp_path / "helpers_of_mine").mkdir()
    (tmp_path / "helpers_of_mine" / "size.py").write_text("size = 1\n")
    path.write_text(SOURCE.replace("from beside import size", "from helpers_of_mine.size import size"))
    with pytest.raises(ValueError, match="must lie beside it"):
        recipes.load(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('name: str = "a"', None),
        ("sizes: tuple[int, ...] | None = (1, 2)", None),
        ('name: typing.Literal["a", "b"] = "b"', None),
        ("name: str = 3", "name must be str; received 3"),
        ('name: typing.Literal["a", "b"] = "c"', "received 'c'"),
        ("limit: dict = dataclasses.field(default_factory=lambda: {1: 2})", "limit cannot be kept in a file"),
    ],
)
def test_values_that_predict_could_not_read_back_are_refused_at_load(path, line, message):
    name = line.partition(":")[0]
    kept = [old for old in SOURCE.splitlines() if not old.strip().startswith(f"{name}:")]
    kept.insert(kept.index("class Config:") + 1, f"    {line}")
    path.write_text("import dataclasses, typing\n" + "\n".join(kept))
    if message is None:
        values = recipes.load(path).recipe
        assert (
            values.with_values(
                **recipe_values.values_from_json(values.config, recipe_values.values_as_json(values.config))
            )
            == values
        )
    else:
        with pytest.raises(ValueError, match=message):
            recipes.load(path)


def test_values_survive_json(path):
    recipe = recipes.load(path).recipe
    kept = recipe_values.values_as_json(recipe.with_values(sizes=(5,)).config)
    assert recipe.with_values(**recipe_values.values_from_json(recipe.config, kept)).config.sizes == (5,)


def test_loading_imports_no_keras(path):
    code = f"import sys; from kcomp.recipe import load; load({str(path)!r}); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_recipe_may_import_from_a_module_of_keras(path):
    path.write_text("from keras.optimizers import AdamW\nimport keras.losses\n" + SOURCE)
    code = """
    import sys
    from kcomp.recipe import load
    from kcomp.system.import_hook import lazy_keras
    with lazy_keras(load=False):
        load(sys.argv[1])
    import keras
    give(name=sys.modules["keras.optimizers"].AdamW.__name__, same=keras.optimizers is sys.modules["keras.optimizers"])
    """
    backend = "jax" if importlib.util.find_spec("jax") else "torch"
    assert conftest.in_backend(backend, code, path, fresh=True) == {"name": "AdamW", "same": True}


def test_a_table_is_read_before_keras_is_imported(path):
    """And once Keras is used, or the block has ended, everything is a usual module."""
    imports = "import keras\nfrom kcomp import augment, models, schedules, views\n"
    table = "def table(config):\n    raise ValueError('no column')\n"
    path.write_text(
        imports + SOURCE.replace("def nothing", table + "def nothing").replace("table=nothing", "table=table")
    )
    code = """
    import inspect, sys
    from kcomp.recipe import load
    from kcomp.system.import_hook import LazyModule, lazy_keras
    def lazy(): return [name for name, module in sys.modules.items() if isinstance(module, LazyModule)]
    try:
        with lazy_keras():
            recipe = load(sys.argv[1]).recipe
            [inspect.getmodule(frame.frame) for frame in inspect.stack()]  # it looks at every module
            before = lazy()
            recipe.table(recipe.config)
    except ValueError as error:
        text = str(error)
    in_error = lazy(), "keras.src" in sys.modules
    with lazy_keras():
        pass
    from kcomp import models
    give(text=text, before=before, in_error=in_error, after=lazy(), name=models.classifier.__module__)
    """
    result = conftest.in_backend("jax" if importlib.util.find_spec("jax") else "torch", code, path, fresh=True)
    lazy = {"keras", "kcomp.augment", "kcomp.models", "kcomp.schedules", "kcomp.views"}
    assert result["text"] == "no column"
    assert set(result["before"]) == lazy and result["in_error"] == [result["before"], False]
    assert result["after"] == [] and result["name"] == "kcomp.models.classifier"


@dataclass(frozen=True)
class Empty:
    pass


def test_stages_and_recipes_refuse():
    for changes, message in (
        ({"epochs": 0}, "at least one epoch; received 0"),
        ({"train": "block["}, "not a regular expression"),
        ({"train": []}, "at least one name of a layer"),
        ({"patience": 0}, "patience"),
        ({"class_weights": "equal"}, "'balanced'"),
        ({"epochs": "2"}, "stage 's': epochs must be int; received '2'"),
        ({"cache_views": 2.5}, r"stage 's': cache_views must be int \| None; received 2.5"),
        ({"cache_views": True}, "received True"),
        ({"mix_features": "yes"}, "mix_features must be bool; received 'yes'"),
        ({"train": None}, r"train must be str \| Sequence\[str\]; received None"),
        ({"label_smoothing": 1.0}, "label_smoothing must be from 0 to below 1; received 1.0"),
        ({"label_smoothing": 0.1, "loss": print}, "set label_smoothing in the loss, or leave out the loss"),
        ({"average": "ema"}, "average must be Snapshots | EMA | SWA | None; received 'ema'"),
    ):
        options = {"name": "s", "epochs": 1, "train": "head", "optimizer": None} | changes
        with pytest.raises(ValueError, match=message):
            Stage(**options)
    assert Stage("s", np.int64(2), "head", None, None, mix_features=np.bool_(False)).epochs == 2
    with pytest.raises(TypeError, match="instance of a dataclass"):
        Recipe(Empty, table=print, batches=print, model=print, stages=print)
