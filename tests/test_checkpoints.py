"""timm's checkpoints: the logits of converted files, what is refused, sizes, heads, and a training from a file."""

import importlib.util

import cv2
import numpy as np
import pytest
from conftest import ROOT, backends, in_backend, kcomp

MISSING = [name for name in ("zeromodels", "timm", "torch") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

# One of each kind: a normalisation after pooling, a class token, two tokens, batch normalisation, layers after pooling
NAMES = (
    "convnext_atto.d2_in1k",
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "deit_tiny_distilled_patch16_224.fb_in1k",
    "tf_efficientnetv2_b0.in1k",
    "mobilenetv3_small_050.lamb_in1k",
)
PEER = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import timm_peer\n"  # timm beside a CPU torch
SAVE = (
    PEER
    + f"""
import torch
from safetensors.torch import save_file
from check_timm import random_network
folder = sys.argv[1]
for name in {NAMES!r}:
    network = random_network(name)
    state = {{k: v.clone() for k, v in network.state_dict().items()}}
    head = network.pretrained_cfg["classifier"]
    if name.startswith("convnext"):  # seven classes, as after a training
        state = {{k: v[:7].clone() if k.startswith(head + ".") else v for k, v in state.items()}}
        wrapped = {{"epoch": 3, "state_dict": {{f"module.{{k}}": v for k, v in state.items()}}}}
        torch.save(wrapped, f"{{folder}}/last.pth.tar")
    save_file(state, f"{{folder}}/{{name}}.safetensors")
give()
"""
)
CHECK = (
    PEER
    + """
import keras, numpy as np
from pathlib import Path
from kcomp import models
from kcomp.models.checkpoints import convert, proof
from kcomp.models.checkpoints.headless import count_classes
from kcomp.models.checkpoints.files import read_checkpoint
from kcomp.models.checkpoints.known import known_checkpoint
from kcomp.models.checkpoints.network import build_network
from timm_peer import timm

def file(name): return Path(sys.argv[1], f"{name}.safetensors")

def features_difference(name):
    'What kcomp makes of photographs in 0..255, against timm on the normalised ones: features and pooled features.'
    known, path = known_checkpoint(name), file(name)
    backbone = models.timm(name, file=path)
    photographs = np.random.default_rng(3).uniform(0, 255, (2, *known.size, 3)).astype("float32")
    network = models.classifier(backbone, 4)
    pooled = keras.Model(network.input, network.get_layer("head").input)
    ours = pooled.predict_on_batch(photographs)
    import torch
    state = {k: torch.from_numpy(np.array(v)) for k, v in read_checkpoint(path).items()}
    peer = timm.create_model(name, num_classes=count_classes(known, read_checkpoint(path))).eval()
    peer.load_state_dict(state)
    normal = (photographs / 255 - np.array(known.mean)) / np.array(known.std)
    with torch.no_grad():
        x = torch.from_numpy(normal.astype("float32").transpose(0, 3, 1, 2).copy())
        theirs = peer.forward_head(peer.forward_features(x), pre_logits=True).numpy()
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file of random weights for each of NAMES, and one of them as a training program saves it."""
    folder = tmp_path_factory.mktemp("timm")
    in_backend("torch", SAVE, folder)
    return folder


@pytest.mark.parametrize("backend", backends())
def test_photographs_give_the_features_of_timm(backend, folder, tmp_path):
    """Before its head, timm has one vector for each photograph; after a distillation token, the mean of two."""
    names = [name for name in NAMES if "distilled" not in name]
    differences = in_backend(
        backend,
        CHECK + f"give(found={{name: features_difference(name) for name in {names!r}}})",
        folder,
        cache=tmp_path,
    )["found"]
    assert set(differences) == set(names)
    assert max(differences.values()) < 2e-4, differences  # what the logits may differ by on JAX


@pytest.mark.parametrize("backend", backends())
def test_a_wrong_conversion_is_refused(backend, folder, tmp_path):
    """One kernel changed after the conversion; timm's logits tell. Without timm, the table of comparisons decides."""
    code = """
name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
known = known_checkpoint(name)
arrays = read_checkpoint(file(name))
network = build_network(known, known.size, classes=1000)
convert.transfer(known, arrays, network, file(name))
proof.prove(known, arrays, network, file(name))
layer = network.get_layer("blocks_5_dense_1")
layer.set_weights([array * 1.01 for array in layer.get_weights()])
messages = []
for hidden in (False, True):
    if hidden:
        sys.modules["timm"] = None  # as if it were not installed
        proof.version = lambda package: "0.0"
    try: proof.prove(known, arrays, network, file(name))
    except ValueError as error: messages.append(str(error))
give(messages=messages)
"""
    wrong, unknown = in_backend(backend, CHECK + code, folder, cache=tmp_path)["messages"]
    assert "does not compute what timm computes" in wrong
    assert "was not compared with timm for zeromodels 0.0" in unknown and "pip install timm" in unknown


def test_files_that_do_not_fit_are_refused(folder, tmp_path):
    (tmp_path / "text.safetensors").write_text("not weights")
    code = """
other = "mobilenetv3_small_050.lamb_in1k"
from safetensors.numpy import load_file, save_file
arrays = load_file(file(other))
save_file({**arrays, "extra.weight": np.ones(3, "float32")}, sys.argv[2] + "/more.safetensors")
save_file({k: v for k, v in arrays.items() if "blocks.2.0" not in k}, sys.argv[2] + "/less.safetensors")
messages = []
for name, path in (
    (other, sys.argv[2] + "/text.safetensors"), (other, sys.argv[2] + "/more.safetensors"),
    (other, sys.argv[2] + "/less.safetensors"), (other, sys.argv[2] + "/absent.pth"), ("efficientnet_b0.ra_in1k", file(other)), ("convnext_tiny", None),
):
    try: models.timm(name, 64, file=path)
    except (ValueError, FileNotFoundError) as error: messages.append(str(error))
give(messages=messages)
"""
    messages = in_backend("torch", CHECK + code, folder, tmp_path, cache=tmp_path / "cache")["messages"]
    expected = ("not a readable", "no place for extra.weight", "do not fit", "does not exist")
    for message, words in zip(messages, (*expected, "no conversion", "convnext_tiny.fb_in1k"), strict=True):
        assert words in message
        assert len(message) < 400


def test_another_image_size_resizes_position_embeddings(folder, tmp_path):
    """Of a ViT: a constant stays constant on the new grid of 4 x 6 patches, and the class token keeps its own."""
    code = """
from safetensors.numpy import load_file, save_file
name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
arrays = load_file(file(name))
arrays["pos_embed"][:, 1:] = 0.25
arrays["pos_embed"][:, 0] = -3
save_file(arrays, sys.argv[2] + "/flat.safetensors")
backbone = models.timm(name, (64, 96), file=sys.argv[2] + "/flat.safetensors")
layer = next(each for each in backbone.layers if "position" in str([w.path for w in each.weights]) or "pos_embed" in each.name)
(embedding,) = [np.array(w) for w in layer.get_weights() if w.shape[-2] == 25]
convert.read_checkpoint = None  # the file is not read again
again = models.timm(name, (64, 96), file=sys.argv[2] + "/flat.safetensors")
give(first=np.unique(embedding[0, 0]).tolist(), rest=np.unique(embedding[0, 1:].round(5)).tolist(),
     equal=all(np.array_equal(a, b) for a, b in zip(backbone.get_weights(), again.get_weights(), strict=True)))
"""
    result = in_backend("torch", CHECK + code, folder, tmp_path, cache=tmp_path / "cache")
    assert result == {"first": [-3.0], "rest": [0.25], "equal": True}


def test_images_are_prepared_as_timm_does():
    """Pixels of a random photograph, of which each side is cut evenly: timm scales 400 px to 224 / 0.875 = 256."""
    code = """
from PIL import Image
from timm.data import create_transform, resolve_data_config
photograph = np.random.default_rng(4).integers(0, 256, (500, 400, 3), np.uint8)
names = {"convnext_tiny.fb_in1k": None, "res2net50_14w_8s.in1k": None, "convnextv2_atto.fcmae_ft_in1k": 112}
sizes, same = {}, []
for name, size in names.items():
    prepared = models.timm_preprocessing(name, size)
    ours = prepared.transform(image=prepared.images.load("a", photograph))["image"]
    config = resolve_data_config({"img_size": size}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    theirs = create_transform(**config, normalize=False)(Image.fromarray(photograph))
    sizes[name] = [prepared.images.size, prepared.images.resampling, *ours.shape[:2]]
    same.append(bool((ours == theirs.permute(1, 2, 0).numpy()).all()))
give(sizes=sizes, same=same)
"""
    result = in_backend("torch", CHECK + code)
    assert result["same"] == [True] * 3
    assert result["sizes"] == {
        "convnext_tiny.fb_in1k": [256, "bicubic", 224, 224],
        "res2net50_14w_8s.in1k": [256, "bilinear", 224, 224],
        "convnextv2_atto.fcmae_ft_in1k": [128, "bicubic", 112, 112],
    }


def test_a_photograph_reaches_the_network_as_in_timm(tmp_path):
    """timm's whole transform, against kcomp's images, centre and first layer, for two photographs of 640 x 427.

    The normalisation is the same. timm cuts off a fraction of a pixel of the longer side, which kcomp rounds, and the
    centre may then begin one pixel later. Where the scaled sides are whole and even, all pixels are the same.
    """
    code = """
from PIL import Image
from sklearn.datasets import load_sample_image
from timm.data import create_transform, resolve_data_config
normal, mean, whole = {}, {}, {}
for name in ("convnext_atto.d2_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "mobilenetv3_small_050.lamb_in1k"):
    prepared = models.timm_preprocessing(name)
    backbone = models.timm(name, weights=None)
    first = keras.Model(backbone.input, backbone.get_layer("rescaling").output)
    config = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    transform, plain = create_transform(**config), create_transform(**config, normalize=False)
    def pixels(photograph): return prepared.transform(image=prepared.images.load("a", photograph))["image"]
    def scaled(image): return first.predict_on_batch(image[None].astype("float32"))[0]
    photographs = [load_sample_image(f"{each}.jpg") for each in ("china", "flower")]
    for photograph in photographs:
        theirs = plain(Image.fromarray(photograph)).permute(1, 2, 0).numpy()
        wanted = transform(Image.fromarray(photograph)).permute(1, 2, 0).numpy()
        normal[name] = float(np.abs(scaled(theirs) - wanted).max())
        mean[name] = float(np.abs(pixels(photograph).astype(float) - theirs).mean())
    long = prepared.images.size * 2  # a side that scales to a whole even number
    stretched = np.array(Image.fromarray(photographs[0]).resize((long * 2, prepared.images.size * 2)))
    whole[name] = int(np.abs(pixels(stretched).astype(int) - plain(Image.fromarray(stretched)).permute(1, 2, 0).numpy()).max())
give(normal=normal, mean=mean, whole=whole)
"""
    result = in_backend("torch", CHECK + code, "", cache=tmp_path)
    assert max(result["normal"].values()) < 1e-5
    assert max(result["mean"].values()) < 4  # levels of 0..255
    assert set(result["whole"].values()) == {0}


@pytest.mark.parametrize("backend", backends())
def test_position_embeddings_are_resized_as_in_timm(backend, folder, tmp_path):
    """timm builds the network for 64 x 96 px, and resizes the embeddings of the file."""
    code = """
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import checkpoint_filter_fn
name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
network = models.classifier(models.timm(name, (64, 96), file=file(name)), 4)
images = np.random.default_rng(3).uniform(0, 255, (2, 64, 96, 3)).astype("float32")
ours = keras.Model(network.input, network.get_layer("head").input).predict_on_batch(images)
peer = timm.create_model(name, num_classes=0, img_size=(64, 96)).eval()
peer.load_state_dict(checkpoint_filter_fn(load_file(file(name)), peer), strict=False)
with torch.no_grad():
    theirs = peer(torch.from_numpy(((images / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2).copy())).numpy()
give(difference=float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
"""
    assert in_backend(backend, CHECK + code, folder, cache=tmp_path)["difference"] < 2e-4


RECIPE = '''
"""Handwritten digits, seen by a network of timm."""
from dataclasses import dataclass
import keras
import numpy as np
from kcomp import data, models
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    file: str = ""

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(120)), 4, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 32, batch_size=16, training=training, seed=seed)

def model(config, target):
    return models.classifier(models.timm("convnext_atto.d2_in1k", 32, file=config.file, drop_path_rate=0.1), target)

def stages(config):
    return [
        Stage("head", 1, "head", keras.optimizers.Adam(1e-2)),
        Stage("end", 1, "head|final_layernorm|stages_3.*", keras.optimizers.AdamW(1e-3)),
    ]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages)
'''


@pytest.mark.parametrize("backend", backends())
def test_a_recipe_trains_from_a_file_of_a_training_program(backend, folder, tmp_path):
    """The file of seven classes starts a network for ten digits; predictions need the file no more."""
    recipe = tmp_path / "small.py"
    recipe.write_text(RECIPE)
    weights = tmp_path / "last.pth.tar"
    weights.write_bytes((folder / "last.pth.tar").read_bytes())
    kcomp("train", recipe, "--backend", backend, "--set", f"file={weights}", cwd=tmp_path)
    weights.unlink()
    (run,) = tmp_path.glob("runs/small/*/*")
    assert (run / "result.json").exists()
    (tmp_path / "test").mkdir()
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"test/{number}.png"), np.full((32, 32, 3), 90 * number, np.uint8))
    kcomp("predict", run, "--test", "test", cwd=tmp_path)


@pytest.mark.parametrize("backend", backends())
def test_heads_pool_feature_maps_and_tokens(backend):
    """By hand: a map of four positions and tokens after a class token; GeM's mean of cubes, 1 for the average."""
    code = """
import keras, numpy as np
from kcomp.models.pooling import GeneralizedMean, pool_features
values = np.array([[[[1.0, 2.0], [3.0, 0.0]], [[5.0, 4.0], [7.0, 2.0]]]], "float32")
tokens = values.reshape(1, 4, 2)
def of(array, kind, first=0): return [keras.ops.convert_to_numpy(v).ravel().tolist() for v in pool_features(keras.ops.array(array), kind, first)]
found = {kind: of(values, kind) for kind in ("average", "maximum", "both", "gem")}
found["tokens"], found["token"] = of(tokens, "average", 1), of(tokens, "token", 1)
found["one"] = keras.ops.convert_to_numpy(GeneralizedMean(1.0)(values)).ravel().tolist()
found["large"] = keras.ops.convert_to_numpy(GeneralizedMean(60.0)(values * 1e30)).ravel().tolist()
messages = []
for kind in ("token", "mean"):
    try: of(values, kind)
    except ValueError as error: messages.append(str(error))
give(messages=messages, **found)
"""
    found = in_backend(backend, code)
    assert found["average"] == [[4.0, 2.0]]
    assert found["maximum"] == [[7.0, 4.0]]
    assert found["both"] == [[4.0, 2.0], [7.0, 4.0]]
    assert found["gem"][0] == pytest.approx(
        [124 ** (1 / 3), 20 ** (1 / 3)], rel=1e-5
    )  # (1+27+125+343) / 4, (8+64+8) / 4
    assert found["tokens"] == [[5.0, 2.0]]  # (3 + 5 + 7) / 3, (0 + 4 + 2) / 3
    assert found["token"] == [[1.0, 2.0]]
    assert found["one"] == pytest.approx([4.0, 2.0], rel=1e-5)
    assert found["large"] == pytest.approx([7e30 * 0.25 ** (1 / 60), 4e30 * 0.25 ** (1 / 60)], rel=1e-4)
    assert "average, maximum, both, gem; received 'token'" in found["messages"][0]
    assert "received 'mean'" in found["messages"][1]
