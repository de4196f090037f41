"""`kcomp compare`: an injected fault is found and named by its layer, a sound recipe is not accused, numbers by hand."""

import importlib.util
import json
import re
import shutil
import subprocess

import conftest
import numpy as np
import pytest
from compare_forks import compare, measure
from test_train_targets import RECIPE

from kcomp import targets
from kcomp.compare.parent.arithmetic import check_arithmetic
from kcomp.compare.parent.arithmetic_section import arithmetic_summary
from kcomp.compare.parent.divergence import measure_divergence
from kcomp.compare.parent.outcome import compare_scores
from kcomp.compare.parent.score_text import decimals, metric_words, signed
from kcomp.compare.parent.sections import glance_table, outcome_section
from kcomp.compare.parent.tolerances import Probe
from kcomp.compare.parent.trained_runs import trained_runs
from kcomp.compare.parent.updates_section import updates_summary
from kcomp.compare.parent.verdict import give_verdict, score_words
from kcomp.compare.sketch import BUCKETS, distance, relative, sketch, sketch_labels
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities
from kcomp.system.files import write_json

SMALL = '''
from dataclasses import dataclass
import keras, numpy as np
from keras import layers
from kcomp import augment, data, models
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    rows: int = 120
    where: str = "nowhere"
    faults: tuple[str, ...] = ()

class Coarse(layers.Dense):
    """Rounds to 16 bits what it gets in 32; in float64 it is Dense."""
    def call(self, inputs):
        if keras.backend.standardize_dtype(inputs.dtype) == "float32":
            inputs = keras.ops.cast(keras.ops.cast(inputs, "bfloat16"), "float32")
        return super().call(inputs)

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(config.rows)), 4, seed=0)

def batches(config, rows, training, seed):
    mixing = augment.Switch(augment.MixUp(0.2), augment.CutMix(1.0))
    return data.Batches(rows, 16, batch_size=16, training=training, seed=seed, layers=[mixing])

def model(config, target):
    faults = config.faults if keras.backend.backend() == config.where else ()
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False, name="conv0")(x)
    x = layers.ReLU(name="relu0")(layers.BatchNormalization(name="bn0")(x))
    x = layers.ZeroPadding2D(((1, 0), (1, 0)) if "padding" in faults else ((0, 1), (0, 1)), name="pad1")(x)
    x = layers.Conv2D(12, 3, 2, padding="valid", use_bias=False, name="conv1")(x)
    inner = keras.Input(x.shape[1:])
    y = layers.BatchNormalization(epsilon=2e-3 if "epsilon" in faults else 1e-3, name="bn1")(inner)
    x = keras.Model(inner, layers.ReLU(name="relu1")(y), name="block")(x)
    x = layers.Dropout(0.3, name="drop")(layers.GlobalAveragePooling2D(name="pool")(x))
    x = (Coarse if "rounding" in faults else layers.Dense)(16, activation="silu", name="dense")(x)
    return keras.Model(inputs, layers.Dense(target.outputs, kernel_initializer="zeros", dtype="float32", name="head")(x))

def stages(config):
    return [Stage("head", 1, "head", keras.optimizers.Adam(1e-2), label_smoothing=0.1),
            Stage("all", 1, "all", keras.optimizers.AdamW(1e-2, beta_1=beta(config)), label_smoothing=0.1, train_batch_norm=True)]

def beta(config):
    if "collapse" in config.faults and keras.backend.backend() == config.where:
        import sys
        if sys.argv[0].endswith("cli.py"):
            raise MemoryError("out of memory, on purpose")
    return 0.8 if "moments" in config.faults and keras.backend.backend() == config.where else 0.9

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last")
'''

# Weights whose true gradient is zero: the keys' bias, biases before normalization, an unused weight, a factor that
# normalization removes.
ZERO_GRADIENTS = '''
class Unused(layers.Dense):
    def build(self, shape):
        super().build(shape)
        self.other = self.add_weight(name="unused", shape=(5,), initializer="normal")

class Factor(layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones")
    def call(self, x):
        x = x * self.factor
        return x / keras.ops.sqrt(keras.ops.mean(x * x, axis=-1, keepdims=True))

class Attention(layers.MultiHeadAttention):
    """Divides by another number than the root of the key's size."""
    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        self._inverse_sqrt_key_dim *= 1.0001

def model(config, target):
    faults = config.faults if keras.backend.backend() == config.where else ()
    inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Conv2D(8, 4, 4, name="conv")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Reshape((16, 8))(layers.BatchNormalization(name="bn")(x))
    attention = (Attention if "attention" in faults else layers.MultiHeadAttention)(2, 4, name="attention")
    x = layers.Add()([x, attention(x, x)])
    x = layers.LayerNormalization(name="norm")(layers.Dense(8, name="dense")(x))
    x = Factor(name="factor")(Unused(8, activation="silu", name="unused")(x))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(target.outputs, dtype="float32", name="head")(x))

'''
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
missing = [name for name in ("jax", "torch", "matplotlib", "jinja2") if importlib.util.find_spec(name) is None]
both = pytest.mark.skipif(bool(missing), reason=f"needs {missing}")


def write(folder, source=SMALL):
    (folder / "small.py").write_text(source)
    return folder / "small.py"


def zero_gradients():
    """The source of the recipe with the other network."""
    return SMALL[: SMALL.index("def model")] + ZERO_GRADIENTS + SMALL[SMALL.index("def stages") :]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A folder in which the sound recipe was compared."""
    folder = tmp_path_factory.mktemp("compare")
    write(folder)
    return folder, compare(folder, "small.py", "--updates", "6")


def report_of(folder):
    [path] = folder.glob("compare/small/*/report.json")
    return json.loads(path.read_text()), path.parent


@both
def test_a_sound_recipe_is_not_accused(clean):
    report, folder = report_of(clean[0])
    checked = report["arithmetic"]
    assert checked["clean"] and not checked["findings"] and "Arithmetic: No layer differs" in clean[1]
    names = [row["layer"] for row in checked["layers"]]
    assert names == ["rescaling", "conv0", "bn0", "relu0", "pad1", "conv1", "block/bn1", "block/relu1", "pool", "drop", "dense", "head"]  # fmt: skip
    assert all(row["checked"] and row["float64"] and row["exact"] < 1e-12 for row in checked["layers"])
    errors = [error for row in checked["layers"] for error in row["errors"].values()]
    assert 1e-9 < max(errors) < 1e-5  # float32 is neither exact nor far off
    [logits] = [row for row in checked["whole"] if row["name"] == "logits"]
    assert 1e-9 < logits["between"] < 1e-5
    assert report["verdict"]["agree"] and report["verdict"]["text"].startswith("The two backends agree; ")
    assert clean[1].count(f"Verdict: {report['verdict']['text']}") == 1
    titles = re.findall(r"^## (.*)$", (folder / "report.md").read_text(), re.MULTILINE)
    assert titles == ["Verdict", "Outcome", "Cost", "Environment", "First updates", "Arithmetic"]
    assert report["silenced"] == ["drop"] and report["stage"] == "all"
    assert {path.name for path in folder.iterdir()} == {"report.html", "report.json", "report.md", "runs"}


@both
def test_two_runs_of_one_backend_are_reported_as_identical(clean):
    report, folder = report_of(clean[0])
    trajectory = report["trajectory"]
    assert [row["identical"] for row in trajectory["repeats"].values()] == [True, True]
    assert not trajectory["identical"] and trajectory["alike"] and trajectory["same_batches"]
    assert trajectory["other_starts"] == [] and trajectory["between"][0] == 0 < trajectory["between"][1] < 1e-5
    assert 0 < trajectory["optimizer"]["difference"] < trajectory["optimizer"]["tolerance"] < 1e-3
    assert trajectory["updates"] == 6 and all(len(losses) == 6 for losses in trajectory["losses"].values())
    assert (folder / "report.md").read_text().count("identical to the last bit") == 2
    cost = report["cost"]["jax"]
    assert cost["compile"] > 0 and min(cost["train"] + cost["predict"]) > 0 and cost["host_mib"] > 50
    assert report["environment"]["torch"]["torch"] and report["environment"]["jax"]["threads"]


@both
def test_complete_runs_are_not_trained_again(clean):
    folder, _ = clean
    report, target = report_of(folder)
    assert len(report["outcome"]["scores"]) == 2 and report["outcome"]["rows"] == 30
    before = {path: path.stat().st_mtime_ns for path in target.rglob("result.json")}
    labels = {"jax": "jax", "torch": "torch"}
    manifest = json.loads(next(target.rglob("manifest.json")).read_text())
    setup = {"name": "small", "fingerprint": target.name, "table": manifest["table"]}
    found = trained_runs(labels, folder / "small.py", setup, target, [(0, 0)], [])
    assert {run / "result.json" for run in found.values()} == set(before) and len(before) == 2
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


@both
@pytest.mark.parametrize(
    "kind, metrics, words",
    [
        ("labels", ["roc_auc", "log_loss"], "ROC AUC (higher is better): JAX 0."),
        pytest.param("numbers", ["mae", "rmse"], "MAE (lower is better): JAX ", marks=pytest.mark.slow),
        pytest.param(
            "grades",
            ["quadratic_kappa", "mae"],
            "Quadratic kappa (higher is better): JAX ",
            marks=pytest.mark.slow,  # as the labels above
        ),
    ],
)
def test_a_sound_recipe_of_another_target_is_not_accused(kind, metrics, words, tmp_path):
    write(tmp_path, RECIPE)
    output = compare(tmp_path, "small.py", "--set", f"kind={kind}", "--updates", "3")
    report, folder = report_of(tmp_path)
    trajectory, outcome = report["trajectory"], report["outcome"]
    assert report["verdict"]["agree"] and report["arithmetic"]["findings"] == [], output
    assert trajectory["alike"] and trajectory["optimizer"]["alike"] and trajectory["same_batches"]
    assert 0 < trajectory["first_distance"] < trajectory["tolerance"] < 1e-2
    assert report["verdict"]["text"].startswith("The two backends agree; ") and words in report["verdict"]["text"]
    assert outcome["metrics"] == metrics and outcome["rows"] == 32
    for row in outcome["scores"]:
        scores = json.loads((tmp_path / row["folder"] / "result.json").read_text())["scores"]
        assert {name: row[name] for name in scores} == scores and np.isfinite(row[metrics[0]])
    titles = re.findall(r"^## (.*)$", (folder / "report.md").read_text(), re.MULTILINE)
    assert titles == ["Verdict", "Outcome", "Cost", "Environment", "First updates", "Arithmetic"]


def faulty(tmp_path, where, faults, source=SMALL):
    """The check of the arithmetic with faults on one backend, and of the first updates."""
    return measure(write(tmp_path, source), f"where={where}", f"faults={faults}")


@both
def test_another_epsilon_is_found_and_named(tmp_path):
    checked, found = faulty(tmp_path, "torch", "epsilon")
    assert [row["layer"] for row in checked["findings"]] == ["block/bn1"]
    verdict = arithmetic_summary(checked, ["jax", "torch"])
    assert "block/bn1: the backends compute different functions" in verdict
    assert "epsilon is 0.001 on jax and 0.002 on torch" in verdict
    assert not found["alike"] and "differs by more than rounding explains" in updates_summary(found)


@both
def test_weights_without_a_gradient_are_not_accused(tmp_path):
    checked, updates = faulty(tmp_path, "nowhere", "", zero_gradients())
    assert checked["findings"] == [] and checked["clean"]
    assert updates["alike"] and updates["optimizer"]["alike"]
    rows = {row["layer"]: row for row in checked["layers"]}
    assert all(row["checked"] for row in rows.values()) and "factor" in rows
    weights = {weight["path"]: weight["gradient"] for row in rows.values() for weight in row["weights"]}
    [keys] = [gradient for path, gradient in weights.items() if path.endswith("key/bias")]
    assert 0 < keys["between"] < 1e-6  # noise, as a share of the layer's gradient
    assert weights["factor/factor"]["between"] < 1e-4 and weights["unused/unused"]["between"] == 0


@both
@pytest.mark.slow  # another epsilon is found in the same way
def test_a_fault_in_attention_is_found(tmp_path):
    checked, _ = faulty(tmp_path, "torch", "attention", zero_gradients())
    assert [row["layer"] for row in checked["findings"]] == ["attention"]
    assert "different functions" in checked["findings"][0]["text"]


@pytest.mark.slow  # as another epsilon, which the tests above find
@both
def test_another_moment_of_the_optimizer_is_found_though_the_first_update_is_the_same(tmp_path):
    checked, found = faulty(tmp_path, "jax", "moments")
    assert checked["clean"] and found["alike"] and not found["optimizer"]["alike"]
    verdict = updates_summary(found)
    assert verdict.startswith("The optimizers differ: after 5 updates from the same gradients")


@both
@pytest.mark.slow  # the other fault's test goes the same way
def test_padding_and_lost_digits_are_found_and_told_apart(tmp_path):
    checked, _ = faulty(tmp_path, "jax", "padding,rounding")
    texts = {row["layer"]: row["text"] for row in checked["findings"]}
    assert texts.keys() == {"pad1", "dense"}
    assert "padding is" in texts["pad1"] and "different functions" in texts["pad1"]
    assert "inexact on jax" in texts["dense"] and "kind is Coarse on jax and Dense on torch" in texts["dense"]


@both
@pytest.mark.slow  # eight processes; the repeats above say the same of each backend
def test_one_backend_with_itself_is_identical(tmp_path):
    write(tmp_path)
    done = conftest.kcomp(
        "compare", "small.py", "--backends", "torch,torch", "--updates", "3", "-o", "out", cwd=tmp_path
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["labels"] == ["torch", "torch again"] and report["trajectory"]["identical"]
    assert all(row["between"] == 0 for row in report["arithmetic"]["whole"])
    assert report["outcome"]["identical"] and len(list(tmp_path.glob("out/runs/*/result.json"))) == 2
    assert "First updates: PyTorch and PyTorch again are identical to the last bit" in done.stdout
    assert "Verdict: The two runs of PyTorch are identical to the last bit; " in done.stdout
    assert report["verdict"]["agree"]
    assert "predict the same for every row" in done.stdout


@pytest.mark.slow
@both
def test_a_training_that_fails_costs_the_report_its_outcome_alone(tmp_path):
    write(tmp_path)
    settings = ("--set", "where=torch", "--set", "faults=collapse")
    done = conftest.kcomp("compare", "small.py", *settings, "--updates", "2", cwd=tmp_path, check=False)
    report, folder = report_of(tmp_path)
    assert done.returncode == 1 and report["arithmetic"]["clean"] and report["trajectory"]["alike"]
    assert "training on torch failed with exit code 1: kcomp train small.py" in report["outcome"]["failed"]
    assert "kcomp: the report has no outcome: training on torch failed" in done.stderr
    assert (folder / "report.html").is_file() and len(list(folder.glob("runs/*/result.json"))) == 1


def test_wrong_usage_is_one_line(tmp_path):
    write(tmp_path)
    for arguments, code, text in (
        (["--backends", "jax"], 2, "--backends takes two names"),
        (["--backends", "jax,tensorflow"], 2, "the backend must be jax or torch"),
        (["--set", "row=3"], 2, "did you mean 'rows'?"),
    ):
        done = conftest.kcomp("compare", "small.py", *arguments, cwd=tmp_path, check=False)
        [line] = [line for line in done.stderr.splitlines() if line.startswith("kcomp: ")]
        assert done.returncode == code and text in line
    assert [path.name for path in tmp_path.iterdir()] == ["small.py"]


LOOK = """<script>
const found = [...document.images].map(image => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext("2d").drawImage(image, 0, 0);
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, new Set(new Uint32Array(pixels.buffer)).size];
});
document.body.setAttribute("data-found", JSON.stringify(found));
</script></body>"""


def browse(page, profile):
    """The page's document after its scripts ran, and what the console said."""
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += ["--disable-component-update", "--disable-sync", "--enable-logging=stderr", f"--user-data-dir={profile}"]
    command = [BROWSER, *flags, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@both
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_the_page_in_a_browser(clean, tmp_path):
    """No console message, every picture has pixels, and nothing comes from elsewhere."""
    text = (report_of(clean[0])[1] / "report.html").read_text()
    assert text.count("<img") == text.count("data:image/png;base64,") == 4 and "http" not in text
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", LOOK))
    document, console = browse(page, tmp_path / "profile")
    assert console == []
    found = json.loads(re.search(r'data-found="([^"]*)"', document).group(1))
    assert len(found) == 4 and all(width > 500 and height > 200 and colours > 50 for width, height, colours in found)
    page.write_text("<script>console.error('seen')</script>")
    assert len(browse(page, tmp_path / "profile")[1]) == 1  # or the check above would see nothing


# ---------------------------------------------------------------- numbers worked out by hand


def test_missing_labels_are_equal_to_themselves_alone():
    labels = np.array([[0.25, np.nan], [1.0, 0.0]])
    other, known = labels.copy(), np.nan_to_num(labels)
    other[0, 0] = 0.75
    sketches = [sketch_labels(array) for array in (labels, labels.copy(), other, known)]
    assert [distance(sketches[0], array) for array in sketches] == pytest.approx([0.0, 0.0, 0.5, 1.0])


def test_a_sketch_keeps_distances():
    draws = np.random.default_rng(1)
    for size in (10, BUCKETS, 300_000):
        first = draws.standard_normal(size)
        second = first + 1e-6 * draws.standard_normal(size)
        true = np.linalg.norm(first - second)
        assert distance(sketch(first), sketch(second)) == pytest.approx(true, rel=0.03 if size > BUCKETS else 1e-9)
        assert distance(sketch(first), sketch(first.copy())) == 0 and sketch(first).size <= BUCKETS
    assert relative(np.array([3.0, 4.0]), np.zeros(2), np.array([0.0, 10.0])) == 0.5
    assert distance(np.zeros(2), np.zeros(3)) == float("inf")


def hand_made(label, backend, value, gradient=1.0):
    call = {"name": "a", "kind": "Dense", "config": {}, "shapes": [[1]], "precision": "float64", "alone": True}
    answer = {"calls": [call], "weights": [{"path": "a/w", "call": 0}], "rows": 2}
    arrays = {"alone/out/0/0": [value], "moved-alone/out/0/0": [1 + 1e-7], "alone/weight/0/0": [gradient]}
    arrays |= {"moved-alone/weight/0/0": [1 + 1e-3], "mixing/0": [1.0], "mixing/1": [1.0]}
    for prefix in ("step/", "moved-step/"):
        arrays |= {prefix + name: [1.0] for name in ("out/0/0", "gradient/0/0", "weight/0", "loss")}
    return Probe(label, backend, answer, {name: np.array(array) for name, array in arrays.items()})


@pytest.mark.parametrize(
    "exact, jax, torch, found",
    [
        (1.0, 1 + 1e-6, 1 + 1e-6, None),
        (1 + 1e-5, 1 + 1e-5, 1.0, "different functions"),  # 8 units of rounding are 9.5e-7
        (1.0, 1 + 1e-4, 1 + 1e-8, "inexact on jax"),  # 256 units are 3.1e-5
        (1.0, 1 + 1e-4, 1 + 1e-6, None),  # within 256 times the other's error
    ],
)
def test_the_tolerances_of_a_layer(exact, jax, torch, found):
    reference, other = hand_made("torch", "torch", 1.0), hand_made("jax", "jax", exact)
    singles = [hand_made("jax", "jax", jax, gradient=1 + 4e-3), hand_made("torch", "torch", torch)]
    checked = check_arithmetic(reference, [other], singles, 2.0**-23)  # the gradient may be off by 256 * 1e-3
    assert checked["clean"] is (found is None)
    assert found is None or found in checked["findings"][0]["text"]


def layers_of(label, gradients):
    """A probe of layers on their own with these gradients of their weights; rounding moves each by 1e-7 of itself."""
    call = {"kind": "Dense", "config": {}, "shapes": [[1]], "precision": "float64"}
    names = [(n, k) for n, layer in enumerate(gradients) for k in range(len(layer))]
    answer = {"calls": [{**call, "name": f"layer{n}"} for n in range(len(gradients))], "rows": 2}
    answer["weights"] = [{"path": f"layer{n}/{k}", "call": n} for n, k in names]
    arrays = {"mixing/0": 1.0, "mixing/1": 1.0}
    for prefix, factor in (("", 1.0), ("moved-", 1 + 1e-7)):
        arrays |= {f"{prefix}alone/weight/{n}/{k}": gradients[n][k] * factor for n, k in names}
        arrays |= {f"{prefix}step/weight/{number}": gradients[n][k] * factor for number, (n, k) in enumerate(names)}
        arrays |= {f"{prefix}step/{name}": 1.0 for name in ("loss", f"out/{len(gradients) - 1}/0")}
    return Probe(label, label, answer, {name: np.array([value]) for name, value in arrays.items()})


@pytest.mark.parametrize(
    "true, exact, jax, faulty",
    [
        ([[3, 0, 4]], [[3, 1e-17, 4]], [[3, 1e-8, 4]], []),  # a bias without a gradient beside weights that have one
        ([[3, 0, 4]], [[3, 1e-4, 4]], [[3, 1e-4, 4]], ["layer0"]),  # 1e-4 of 5 is more than 8 roundings, 9.5e-7
        ([[3, 1e-3, 4]], [[3, 0, 4]], [[3, 0, 4]], ["layer0"]),  # a gradient that is left out
        ([[3, 0, 4]], [[3, 0, 4]], [[3, 1e-3, 4]], ["layer0"]),  # 1e-3 of 5 is more than 256 roundings, 3.1e-5
        ([[1e-18], [5]], [[3e-18], [5]], [[1e-8], [5]], []),  # a layer without a gradient: of 1e-3 x 5
        ([[1e-18], [5]], [[1e-6], [5]], [[1e-6], [5]], ["layer0"]),
        ([[0], [0]], [[0], [0]], [[0], [0]], []),
    ],
)
def test_gradients_are_measured_against_their_layer(true, exact, jax, faulty):
    singles = [layers_of("jax", jax), layers_of("torch", true)]
    checked = check_arithmetic(layers_of("torch", true), [layers_of("jax", exact)], singles, 2.0**-23)
    assert [row["layer"] for row in checked["findings"]] == faulty


def test_only_the_first_update_that_moves_is_checked():
    def probe(label, straight, reordered, alone=6.0):
        start = [[3.0, 4.0]]
        paths = {"trajectory/straight": start + straight, "trajectory/reordered 1": start + reordered}
        paths["optimizer"] = [*start, [3.0, 5.0], [3.0, alone]]
        answer = {"straight": {"losses": [1.0, 1.0], "digest": label}, "batches": "b", "starting_weights": {"w": "1"}}
        answer["condition"] = 0.0
        return Probe(label, label, answer, {name: np.array(path) for name, path in paths.items()})

    costs = {"jax": {"digest": "jax"}, "torch": {"digest": "other"}}
    jax = probe("jax", [[3.0, 5.0], [3.0, 6.0]], [[3.0, 5.0 + 1e-5], [3.0, 6.0]])
    # 32 reorderings of 1e-5 / |(3, 5)| are allowed; what comes after the first update is not checked
    for moved, alike in ((3e-4, True), (4e-4, False)):
        found = measure_divergence(
            [jax, probe("torch", [[3.0, 5.0 + moved], [9.0, 6.0]], [[3.0, 5.0 + moved], [3.0, 6.0]])], costs
        )
        assert found["alike"] is alike and found["checked_update"] == 1
        assert found["first_distance"] == pytest.approx(moved / np.hypot(3, 5)) and found["tolerance"] == pytest.approx(
            3.2e-4 / np.hypot(3, 5) + 2**-22
        )
    assert found["optimizer"] == {
        "updates": 2,
        "difference": 0.0,
        "differences": [0.0, 0.0, 0.0],
        "tolerance": pytest.approx(32 * 2**-23 * 3.5),
        "alike": True,
    }
    for end, same in ((6 + 2.5e-5, True), (6 + 3e-5, False), (np.nan, False)):  # 2 long, from weights 5 long
        rule = measure_divergence(
            [jax, probe("torch", [[3.0, 5.0], [3.0, 6.0]], [[3.0, 5.0], [3.0, 6.0]], end)], costs
        )["optimizer"]
        assert rule["alike"] is same
    assert found["repeats"]["jax"]["identical"] and not found["repeats"]["torch"]["identical"]
    broken = probe("torch", [[3.0, np.nan], [3.0, np.nan]], [[3.0, 5.0], [3.0, 6.0]])
    still = probe("torch", [[3.0, 4.0], [3.0, 4.0]], [[3.0, 4.0], [3.0, 4.0]])
    for odd in (broken, still):  # whichever stands first
        assert not any(measure_divergence(pair, costs)["alike"] for pair in ([jax, odd], [odd, jax]))


def updates_of(label, *, end=(3.0, 5.0), moved_start=(3.0, 4.0), moved_end=None, optimizer=(3.0, 5.0), condition=0.0):
    """A probe of one update of the weights (3, 4), once more from a moved start, and of one update of the optimizer."""
    paths = {"trajectory/straight": [(3.0, 4.0), end], "trajectory/reordered 1": [moved_start, moved_end or end]}
    arrays = {name: np.array(path) for name, path in (paths | {"optimizer": [(3.0, 4.0), optimizer]}).items()}
    answer = {"straight": {"losses": [1.0], "digest": label}, "batches": "b", "starting_weights": {}}
    return Probe(label, label, answer | {"condition": condition}, arrays)


@pytest.mark.parametrize(
    "jax, torch, alike",
    [  # the weights move by 1 and are then sqrt(34) long; storing them allows 2 ** -22 * sqrt(34) = 1.39e-6
        ({}, {"end": (3.0, 5.0 + 1.3e-6)}, True),
        ({}, {"end": (3.0, 5.0 + 1.5e-6)}, False),
        # another start that moves as far does not count; a movement that is 1e-6 longer counts 32 times
        ({"moved_start": (3.0, 4.1), "moved_end": (3.0, 5.1)}, {"end": (3.0, 5.0 + 1.5e-6)}, False),
        ({"moved_start": (3.0, 4.1), "moved_end": (3.0, 5.1 + 1e-6)}, {"end": (3.0, 5.0 + 3e-5)}, True),
        ({"moved_start": (3.0, 4.1), "moved_end": (3.0, 5.1 + 1e-6)}, {"end": (3.0, 5.0 + 4e-5)}, False),
        # the difference of the optimizers, 1e-6 of the movement, counts 1.1 times: 1.39e-6 + 1.1e-6
        ({}, {"end": (3.0, 5.0 + 2.4e-6), "optimizer": (3.0, 5.0 + 1e-6)}, True),
        ({}, {"end": (3.0, 5.0 + 2.6e-6), "optimizer": (3.0, 5.0 + 1e-6)}, False),
    ],
)
def test_the_tolerance_of_the_first_update(jax, torch, alike):
    costs = {label: {"digest": label} for label in ("jax", "torch")}
    divergence = measure_divergence([updates_of("jax", **jax), updates_of("torch", **torch)], costs)
    assert divergence["alike"] is alike and divergence["optimizer"]["alike"]


def hand_trajectory(**changes):
    optimizer = {"alike": True, "updates": 5, "difference": 3e-3, "tolerance": 1e-4}
    reordered = {"jax, reordered 1": [0.0, 0.0, 1e-7, 4e-6], "torch, reordered 1": [0.0, 0.0, 1e-7, 8e-6]}
    trajectory = {"labels": ["jax", "torch"], "updates": 3, "identical": False, "optimizer": optimizer}
    trajectory |= {"checked_update": 2, "first_distance": 2e-6, "tolerance": 5e-6, "last_distance": 7e-5}
    return trajectory | {"reordered": reordered, "alike": True} | changes


def test_the_summary_names_the_update_that_is_checked():
    text = (
        "After update 2, the first that moves the weights, the backends differ by 2.0e-06 of the norm of the weights "
        "(tolerance 5.0e-06), after 3 updates by 7.0e-05. "
    )
    alike, different = updates_summary(hand_trajectory()), updates_summary(hand_trajectory(alike=False))
    assert alike.startswith(f"Both backends make the same update 2. {text}")
    assert different.startswith(f"Update 2 differs by more than rounding explains. {text}")


@pytest.mark.parametrize("identical", [True, False])
def test_the_summary_says_that_no_update_moves_the_weights(identical):
    still = {"checked_update": 0, "identical": identical, "first_distance": 0.0}
    trajectory = hand_trajectory(**still)
    assert updates_summary(trajectory) == "None of the 3 updates moves the weights, so no update is checked."
    optimizer = trajectory["optimizer"] | {"alike": False}
    assert updates_summary(trajectory | {"optimizer": optimizer}).startswith("The optimizers differ: after 5 updates")


@pytest.mark.parametrize("gap, alike", [(2.5e-4, True), (2.8e-4, False)])
def test_the_tolerance_of_the_optimizer_counts_its_coefficients(gap, alike):
    """Adam, with 0.9 and 0.999: 2 * 1008 units of 2 ** -23 are 2.40e-4; 32 units of the weights (5 long) 2.3e-5."""
    costs = {label: {"digest": label} for label in ("jax", "torch")}
    probes = [updates_of("jax", condition=1008.0), updates_of("torch", optimizer=(3.0, 5.0 + gap))]
    divergence = measure_divergence(probes, costs)
    assert divergence["optimizer"]["alike"] is alike


@pytest.mark.skipif("torch" in missing, reason="needs torch")
def test_the_condition_of_optimizers():
    """9 + 999 for Adam, 0.9 / 0.1 for a momentum; settings from 1 and the average of weights do not count."""
    conditions = conftest.in_backend(
        "torch",
        """
        import keras
        from kcomp.compare.worker.optimizer import condition
        plain, momentum = keras.optimizers.SGD(0.5), keras.optimizers.SGD(0.5, momentum=0.9, clipnorm=1.0)
        adam = keras.optimizers.AdamW(0.1, weight_decay=0.0, use_ema=True)
        both = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(adam, {"a": momentum}))
        scaled = keras.optimizers.LossScaleOptimizer(momentum)
        give(values=[condition(optimizer) for optimizer in (plain, momentum, adam, both, scaled)])
        """,
    )["values"]
    assert conditions == pytest.approx([0, 9, 1008, 1008, 9], rel=1e-6)


def hand_run(folder, right, rows=20):
    """A run of two classes that gives the true class 0.8 in `right` rows and 0.2 in the others."""
    ids, truth = [f"r{n}" for n in range(rows)], np.eye(2)[np.arange(rows) % 2]
    given = np.where((np.arange(rows) < right)[:, None], 0.6 * truth + 0.2, 0.8 - 0.6 * truth)
    folder.mkdir(parents=True)
    write_probabilities(folder / "oof.csv", ids, ["a", "b"], given)
    write_probabilities(folder / "labels.csv", ids[::-1], ["a", "b"], truth[::-1])
    manifest = {"recipe": "r", "fingerprint": "f", "backend": "jax", "seed": 0, "fold": 0, "table": "t"}
    manifest |= {
        "target": {"target": "one class", "classes": ["a", "b"]},
        "classes": ["a", "b"],
        "metric": "accuracy",
        "scores": ["accuracy", "log_loss"],
    }
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "result.json", {"scores": {"accuracy": right / rows, "log_loss": 1.0, "macro_f1": 1.0, "roc_auc": None}, "seconds": 1.0})  # fmt: skip
    return Run(folder)


def test_the_outcome_by_hand(tmp_path):
    rights = {("jax", 0): 16, ("jax", 1): 18, ("torch", 0): 12, ("torch", 1): 10}
    runs = {(label, seed, 0): hand_run(tmp_path / f"{label}{seed}", right) for (label, seed), right in rights.items()}
    found = compare_scores(runs)
    # accuracies .80, .90 against .60, .50: differences .2 and .4, their mean's error .1, so t = 3 on 1 degree of freedom
    noise = found["noise"]["accuracy"]
    assert noise["difference"] == pytest.approx(0.3) and noise["spread"] == pytest.approx(0.005**0.5)
    assert noise["p"] == pytest.approx(0.2048, abs=2e-4) and "not more than seed noise" in found["sentence"]
    assert found["frameworks"]["accuracy"]["mean"] == pytest.approx(0.3)
    assert [(row["only_first"], row["only_second"]) for row in found["mcnemar"]] == [(4, 0), (8, 0)]
    assert [row["p"] for row in found["mcnemar"]] == pytest.approx([2 / 2**4, 2 / 2**8])
    apart = [row["mean"] for row in found["seeds_apart"] if row["metric"] == "accuracy"]
    assert apart == pytest.approx([-0.1, 0.1]) and "n = 2 seeds, 1 fold, 20 rows" in found["sentence"]
    one = compare_scores({key: run for key, run in runs.items() if key[1] == 0})
    assert (
        "With one seed this says nothing about the frameworks" in one["sentence"] and one["noise"]["accuracy"] is None
    )
    same = compare_scores({("a", 0, 0): runs["jax", 0, 0], ("b", 0, 0): runs["jax", 0, 0]})
    assert same["identical"] and "the same for every row" in same["sentence"]


def numbers_run(folder, errors):
    """A run of one number whose predictions are off by `errors`, with a recipe's own metric."""
    ids, labels = [f"r{row}" for row in range(len(errors))], np.arange(len(errors), dtype=float)[:, None]
    folder.mkdir(parents=True)
    write_probabilities(folder / "oof.csv", ids, ["grams"], labels + np.array(errors)[:, None])
    write_probabilities(folder / "labels.csv", ids, ["grams"], labels)
    manifest = {"recipe": "r", "fingerprint": "f", "backend": "jax", "seed": 0, "fold": 0, "table": "t"}
    target = targets.Numbers(("grams",), (2.0,), (1.0,)).to_json()
    manifest |= {"target": target, "classes": ["grams"], "metric": "far", "scores": ["far", "mae", "rmse", "r2"]}
    write_json(folder / "manifest.json", manifest)
    scores = {"far": max(errors), "mae": np.mean(errors), "rmse": np.sqrt(np.mean(np.square(errors))), "r2": 0.5}
    write_json(folder / "result.json", {"scores": scores, "seconds": 1.0})
    return Run(folder)


def test_the_outcome_of_numbers_with_a_function_as_metric(tmp_path):
    errors = {"jax": [1.0, 1.0, 1.0, 1.0], "torch": [1.0, 2.0, 1.0, 2.0]}
    runs = {(label, 0, 0): numbers_run(tmp_path / label, values) for label, values in errors.items()}
    outcome = compare_scores(runs)
    assert outcome["shown"] == ["far", "mae", "rmse", "r2"] and outcome["metrics"] == ["mae", "rmse"]
    assert outcome["frameworks"]["mae"]["mean"] == pytest.approx(-0.5)
    assert outcome["mcnemar"] == []  # a number is not right or wrong
    assert outcome["function"] == "far" and outcome["sentence"].startswith(
        "The recipe's metric far is a function of the recipe, so differences are measured by MAE. The MAE of JAX is 0.5000 lower (better) than that of PyTorch (95 %"
    )
    section = outcome_section(outcome)
    assert [cell for cell in section.tables[0][1].header if cell in ("far", "MAE")] == ["far", "MAE"]
    assert score_words(outcome) == "MAE (lower is better): JAX 1.0000, PyTorch 1.5000; the difference may be chance."


def test_a_small_difference_that_excludes_zero_is_printed_with_its_digits(tmp_path):
    """MAE 1.000001 against 1, the same in every row: an interval of one number, 0.0000 to 0.0000 in four decimals."""
    runs = {
        ("jax", 0, 0): numbers_run(tmp_path / "a", [1.000001] * 4),
        ("torch", 0, 0): numbers_run(tmp_path / "b", [1.0] * 4),
    }
    outcome = compare_scores(runs)
    text = "The MAE of JAX is 0.0000010 higher (worse) than that of PyTorch (95 % interval over rows +0.0000010 to +0.0000010: 0 is outside)."
    assert text in outcome["sentence"]
    words = "MAE (lower is better): JAX 1.0000010, PyTorch 1.0000000; the difference is more than chance explains."
    assert score_words(outcome) == words
    costs = {label: dict.fromkeys(("time_to_first_update", "host_mib"), 1.0) | {"train": [1.0], "predict": [1.0]} for label in ("jax", "torch")}  # fmt: skip
    glance = glance_table({"labels": ["jax", "torch"], "cost": costs, "outcome": outcome})
    assert glance.rows[0] == ["MAE (lower is better)", "1.0000010", "1.0000000"]
    row = outcome_section(outcome).tables[1][1].rows[0]
    assert row[1:4] == ["MAE", "+0.0000010", "+0.0000010 to +0.0000010"]
    tiny = compare_scores({key: numbers_run(tmp_path / f"{key[0]}-tiny", errors) for key, errors in ((("jax", 0, 0), [2e-7, 4e-7]), (("torch", 0, 0), [5e-7, 1e-7]))})  # fmt: skip
    assert score_words(tiny).startswith("MAE (lower is better): JAX 0.000000300, PyTorch 0.000000300; they are equal")


@pytest.mark.parametrize(
    "low, torch, text",
    [
        (-1e-6, 0.949999, "JAX 0.9500, PyTorch 0.9500; they are equal to 4 decimals."),
        (1e-7, 0.949999, "JAX 0.9500000, PyTorch 0.9499990; the difference is more than chance explains."),
        # 12 decimals are the most that are written
        (
            1e-15,
            0.95 - 1e-13,
            "JAX 0.950000000000, PyTorch 0.950000000000; the difference is more than chance explains.",
        ),
    ],
)
def test_scores_whose_difference_excludes_zero_are_not_called_equal(low, torch, text):
    report = hand_report(interval={"low": low})
    report["outcome"]["scores"] = [{"label": "jax", "accuracy": 0.95}, {"label": "torch", "accuracy": torch}]
    assert score_words(report["outcome"]) == f"Accuracy (higher is better): {text}"


def test_digits_of_scores():
    assert decimals([1.000001 - 1]) == 7 and decimals([9.96e-6], digits=3) == 8  # 0.0000010 and 0.00000996
    assert [decimals(values) for values in ([0.5], [0.00123], [-3e-6, 1.0], [0.0], [float("nan")], [1e-13])] == [4, 4, 7, 4, 4, 14]  # fmt: skip
    assert [signed(1.5e-13, 14), signed(-0.25), signed(float("nan"))] == ["+1.5e-13", "-0.2500", "–"]
    assert [*map(metric_words, ("roc_auc", "log_loss", "macro_f1", "map@5"))] == ["ROC AUC", "log loss", "macro F1", "map@5"]  # fmt: skip


def test_small_differences_of_scores_read_well(tmp_path):
    assert [signed(value) for value in (-1e-6, 0.0, 4e-5, -0.00012)] == ["0.0000", "0.0000", "0.0000", "-0.0001"]
    runs = {(label, 0, 0): hand_run(tmp_path / label, 16) for label in ("jax", "torch")}
    table = (tmp_path / "torch" / "oof.csv").read_text()
    (tmp_path / "torch" / "oof.csv").write_text(table.replace("0.8,", "0.80001,", 1))
    text = compare_scores(runs)["sentence"]
    assert text.startswith("JAX and PyTorch have the same accuracy to 4 decimals (95 % interval over rows 0.0000")
    assert "the same log loss to 4 decimals" in text and "-0.0000" not in text


def hand_report(**changes):
    trajectory = {"same_batches": True, "alike": True, "identical": False, "optimizer": {"alike": True}}
    row = {"mean": 0.01, "low": -0.01, "high": 0.03, "rows": 100}
    outcome = {"labels": ["jax", "torch"], "identical": False, "noise": {"accuracy": None}, "metrics": ["accuracy"]}
    outcome["scores"] = [{"label": "jax", "accuracy": 0.96}, {"label": "torch", "accuracy": 0.95}]
    outcome |= {"frameworks": {"accuracy": row | changes.get("interval", {})}, "higher_is_better": {"accuracy": True}}
    return {
        "labels": ["jax", "torch"],
        "arithmetic": {"findings": [{"layer": layer} for layer in changes.get("layers", [])]},
        "trajectory": trajectory | changes.get("trajectory", {}),
        "cost": {"jax": {"train": changes.get("jax", [19, 20, 21])}, "torch": {"train": [9, 10, 11]}},
        "outcome": changes.get("outcome", outcome),
    }


@pytest.mark.parametrize(
    "changes, agree, text",
    [
        (
            {},
            True,
            "The two backends agree; JAX trains twice as fast here. Accuracy (higher is better): JAX 0.9600, PyTorch 0.9500; the",
        ),
        ({"jax": [13, 14, 15]}, True, "agree; JAX trains 1.4 times as fast here."),
        ({"jax": [10, 14, 15]}, True, "agree; both train about equally fast here."),
        ({"jax": [4, 5, 6]}, True, "agree; PyTorch trains twice as fast here."),
        ({"interval": {"low": 0.002}}, True, "the difference is more than chance explains."),
        ({"layers": ["bn1"]}, False, "The two backends disagree: bn1 computes something else; JAX"),
        ({"layers": ["a", "b"], "trajectory": {"alike": False}}, False, "disagree: a (and 1 more) computes something"),
        ({"trajectory": {"optimizer": {"alike": False}}}, False, "disagree: their optimizers differ;"),
        ({"trajectory": {"alike": False}}, False, "disagree: their first updates differ;"),
        ({"outcome": {"failed": "no memory"}}, True, "There are no scores, because a training failed."),
    ],
)
def test_the_verdict(changes, agree, text):
    verdict = give_verdict(hand_report(**changes))
    assert verdict.agree is agree and text in verdict.text
