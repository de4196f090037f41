"""Export: the ONNX file gives kcomp's own probabilities for any batch size, and says what it is."""

import functools
import importlib.util
import json
import shutil

import conftest
import numpy as np
import pytest
from click.testing import CliRunner

from kcomp.cli import main
from kcomp.runs.folder import Run
from kcomp.system import backends

RECIPE = '''
"""Batch and layer normalisation, strided and depthwise convolutions, dropout: what exporters stumble over."""
from dataclasses import dataclass
import keras
import numpy as np
from keras import layers
from kcomp import data, models
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    pass

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(120)), 4, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 16, batch_size=16, training=training, seed=seed)

def model(config, target):
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.LayerNormalization()(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.Rescaling(10.0)(layers.Conv2D(16, 1, activation="gelu")(x))
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.1)

def stages(config):
    return [Stage("all", 3, "all", keras.optimizers.Adam(0.1), train_batch_norm=True)]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, precision="float32", keep="last")
'''

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "onnx", "onnxscript", "onnxruntime")),
    reason="needs torch and the extra onnx",
)
SIZES = (1, 3, 16)


def images(count):
    """Random squares of 4 x 4 pixels: even noise would look alike to a network that averages."""
    squares = np.random.default_rng(count).uniform(0, 255, (count, 4, 4, 3)).astype(np.float32)
    return squares.repeat(4, axis=1).repeat(4, axis=2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function of the backend: trains the tiny recipe on it and exports it, once; gives the run and what was said."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "tiny.py").write_text(RECIPE)

    @functools.cache
    def make(backend):
        run = folder / backend
        conftest.kcomp("train", "tiny.py", "--seed", "3", "-o", run, backend=backend, cwd=folder)
        return run, conftest.kcomp("export", run, backend="jax", cwd=folder).stdout  # it runs on torch all the same

    return make


def own_probabilities(run, backend):
    """kcomp's own probabilities of `images(size)` for each size, from the backend that trained the run."""
    code = f"""
        import sys
        sys.path.insert(0, {str(conftest.ROOT / "tests")!r})
        import test_export
        from pathlib import Path
        from kcomp.prediction import runs as inference
        from kcomp.prediction.forward import compile_forward
        from kcomp.fast.install import patched
        from kcomp.runs.folder import Run
        run = Run(Path(sys.argv[1]))
        with patched(True):
            forward = compile_forward(inference.trained_network(run, run.recipe().recipe))
            give(**{{str(n): run.target.predict(forward(test_export.images(n))).tolist() for n in test_export.SIZES}})
    """
    return {int(size): np.array(found) for size, found in conftest.in_backend(backend, code, run).items()}


OWN_NUMBERS = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(conftest.ROOT / "tests")!r})
import test_export
from kcomp.prediction.forward import compile_forward
from kcomp.prediction.runs import trained_network
from kcomp.runs.folder import Run
run = Run(Path(sys.argv[1]))
network = trained_network(run, run.recipe().recipe)
give(predictions=[run.target.predict(compile_forward(network)(test_export.images(3))).tolist()])
"""


@needs_onnx
@pytest.mark.parametrize("backend", conftest.backends())
def test_onnx_runtime_gives_the_probabilities_of_kcomp(exported, backend):
    import onnx
    import onnxruntime

    run, said = exported(backend)
    assert said.startswith(f"{run / 'model.onnx'}: ") and said.count("\n") == 1
    assert "images (batch, 16, 16, 3) in 0..255 -> predictions (batch, 10), at most" in said
    session = onnxruntime.InferenceSession(run / "model.onnx")
    own = own_probabilities(run, backend)
    assert np.ptp(own[16], axis=0).max() > 0.05  # the network tells images apart
    for size in SIZES:
        [found] = session.run(["predictions"], {"images": images(size)})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, own[size], atol=1e-5)
    manifest = json.loads((run / "manifest.json").read_text())
    kept = session.get_modelmeta().custom_metadata_map
    assert json.loads(kept["columns"]) == manifest["classes"] and kept["target"] == "one class"
    assert (kept["backend"], kept["seed"], kept["fold"], kept["recipe"]) == (backend, "3", "0", "tiny")
    assert kept["fingerprint"] == manifest["fingerprint"] and kept["kcomp"] == manifest["versions"]["kcomp"]
    model = onnx.load(run / "model.onnx")
    assert int(kept["opset"]) == model.opset_import[0].version
    operations = [node.op_type for node in model.graph.node]
    assert operations.count("BatchNormalization") == 2, "in one piece, so that runtimes fold it into the convolution"


@needs_onnx
def test_openvino_reads_the_file(exported):
    openvino = pytest.importorskip("openvino")
    run, _ = exported("torch")
    network = openvino.Core().compile_model(run / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    own = own_probabilities(run, "torch")
    for size in SIZES:
        np.testing.assert_allclose(network(images(size))["predictions"], own[size], atol=1e-5)


OTHERS = """
import json
import keras, numpy as np, onnxruntime
from kcomp import targets
from kcomp.prediction.onnx import onnx_model

for target in (targets.AnyOf(("a", "b")), targets.Grades(("x", "y", "z"), loss_name="softmax"), targets.Grades(("x", "y"))):
    keras.utils.set_random_seed(1)  # weights that saturate no prediction
    inputs = keras.Input((4, 6, 3))
    network = keras.Model(inputs, keras.layers.Dense(target.outputs)(keras.layers.Flatten()(inputs / 255)))
    session = onnxruntime.InferenceSession(onnx_model(network, target).SerializeToString())
    images = np.random.default_rng(0).uniform(0, 255, (3, 4, 6, 3)).astype("float32")
    predictions = session.run(["predictions"], {"images": images})[0]
    np.testing.assert_allclose(predictions, target.predict(network.predict(images, verbose=0)), atol=1e-5)
    assert np.ptp(predictions, 0).min() > 1e-3
give(done=True)
"""


@needs_onnx
def test_the_network_of_any_target_returns_its_predictions():
    assert conftest.in_backend("torch", OTHERS)["done"]


@needs_onnx
def test_numbers_are_exported_in_their_own_units(tmp_path):
    import onnxruntime

    recipe = RECIPE.replace("from kcomp import data, models", "from kcomp import data, models, targets")
    table = recipe[recipe.index("def table") : recipe.index("def batches")]
    numbers = """def table(config):
    digits = data.sklearn_digits().rows(np.arange(60))
    frame = digits.frame[["image_id", "image"]].reset_index(drop=True)
    frame["grams"] = (1000 + 50 * digits.labels.argmax(1)).astype("float32")
    return data.folds(data.Table(frame, targets.Numbers(("grams",))), 3, seed=0)

def far(labels, predictions):
    return float(np.abs(labels - predictions).max())

"""
    recipe = recipe.replace(table, numbers).replace(
        'keep="last"', 'keep="last", metric=metrics.Metric("far", far, higher_is_better=False)'
    )
    recipe = recipe.replace("from kcomp import data", "from kcomp import metrics, data").replace(
        '"all", 3, "all"', '"all", 1, "all"'
    )
    (tmp_path / "grams.py").write_text(recipe)
    conftest.kcomp("train", "grams.py", "-o", "run", backend="torch", cwd=tmp_path)
    said = conftest.kcomp("export", "run", cwd=tmp_path).stdout
    assert "-> predictions (batch, 1), at most" in said
    run = Run(tmp_path / "run")
    session = onnxruntime.InferenceSession(run / "model.onnx")
    [own] = conftest.in_backend("torch", OWN_NUMBERS, run.folder)["predictions"]
    [found] = session.run(None, {"images": images(3)})
    np.testing.assert_allclose(found, own, rtol=1e-5)
    assert 500 < found.mean() < 2000
    labels, oof = (run.probabilities(name).to_numpy() for name in ("labels", "oof"))
    assert run.result["scores"]["far"] == pytest.approx(np.abs(labels - oof).max(), rel=1e-6)
    assert session.get_modelmeta().custom_metadata_map["target"] == "numbers"


def hiding(*modules):
    """A program that runs the command line as if these modules were not installed."""
    return (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *more: None if name in {modules!r} else find(name, *more)\n"
        "from kcomp.cli import main\n"
        "main(sys.argv[1:])"
    )


def run_folder(folder, complete):
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    if complete:
        (folder / "result.json").write_text(json.dumps({"scores": {}, "seconds": 1.0}))
    return folder


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        (("torch",), "the backend torch is not installed; run: pip install 'kcomp[torch]'"),
        (("onnx",), "onnx is not installed; run: pip install 'kcomp[onnx]'"),
        (("onnx", "onnxscript"), "onnx, onnxscript are not installed; run: pip install 'kcomp[onnx]'"),
    ],
)
def test_what_is_missing_is_named_in_one_line(tmp_path, monkeypatch, hidden, said):
    monkeypatch.setattr(backends, "is_installed", lambda name: name not in hidden)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    run = run_folder(tmp_path / "run", complete=True)
    result = CliRunner().invoke(main, ["export", str(run)])
    assert (result.exit_code, result.output) == (1, f"kcomp: {said}\n")
    assert {path.name for path in run.iterdir()} == {"manifest.json", "result.json"}


def test_wrong_runs_and_outputs_are_refused(tmp_path):
    unfinished, *two = (run_folder(tmp_path / name, complete=name != "unfinished") for name in ("unfinished", "a", "b"))
    result = CliRunner().invoke(main, ["export", str(unfinished)])
    assert result.exit_code == 1 and "1 of 1 runs is not complete" in result.output
    result = CliRunner().invoke(main, ["export", *map(str, two), "-o", str(tmp_path / "one.onnx")])
    assert result.exit_code == 2 and "names one file, but there are 2 runs" in result.output
    assert not list(tmp_path.rglob("*.onnx"))


@needs_onnx
def test_mixed_precision_is_exported_in_float32_and_without_onnx_runtime_unchecked(exported, tmp_path):
    import onnxruntime

    run, _ = exported("torch")
    shutil.copytree(run, tmp_path / "mixed")
    recipe = tmp_path / "mixed" / "recipe" / "tiny.py"
    recipe.write_text(recipe.read_text().replace('precision="float32"', 'precision="mixed_bfloat16"'))
    arguments = ["export", tmp_path / "mixed", "-o", tmp_path / "files"]
    done = conftest.run_process("torch", arguments, code=hiding("onnxruntime"), env=conftest.environment("torch"))
    assert done.returncode == 0, done.stderr
    [file] = (tmp_path / "files").iterdir()
    assert file.name == f"tiny-{json.loads((run / 'manifest.json').read_text())['fingerprint']}-torch-seed3-fold0.onnx"
    assert done.stdout.startswith(str(file)) and done.stdout.endswith("not checked: no onnxruntime\n")
    mixed, exact = (onnxruntime.InferenceSession(path) for path in (file, run / "model.onnx"))
    for size in SIZES:  # bfloat16 would differ in the third digit
        found = [session.run(None, {"images": images(size)})[0] for session in (mixed, exact)]
        np.testing.assert_array_equal(*found)


@needs_onnx
def test_a_file_that_differs_from_keras_is_not_written(exported):
    """The check compares other images than the file is given; nothing of the file, whole or in part, stays behind."""
    run, _ = exported("torch")
    before = sorted(path.name for path in run.rglob("*"))
    code = """
        import sys
        from pathlib import Path
        from kcomp.prediction import onnx as export
        from kcomp.prediction.forward import compile_forward
        from kcomp.runs.folder import Run
        own = compile_forward
        export.compile_forward = lambda network: lambda images: own(network)(images[::-1])
        try:
            export.export_run(Run(Path(sys.argv[1])), Path(sys.argv[1]) / "files" / "wrong.onnx")
        except RuntimeError as error:
            give(error=str(error))
    """
    error = conftest.in_backend("torch", code, run)["error"]
    assert "must differ from Keras's by 0.001 at most" in error and "nothing was written" in error
    assert sorted(path.name for path in run.rglob("*") if path.suffix != ".pyc") == before
