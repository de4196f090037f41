"""timm's files without a head, and DINOv2: features as in timm, tokens, sizes, and a head on them."""

import importlib.util

import pytest
from conftest import ROOT, backends, in_backend, one_slow

MISSING = [name for name in ("zeromodels", "timm", "torch") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

HEADLESS = (
    "convnextv2_atto.fcmae",
    "vit_tiny_patch16_224.augreg_in21k",
    "deit_tiny_distilled_patch16_224.fb_in1k",
)
# DINOv2's networks with two narrow blocks and 4 x 4 patches, so that they are quick
DINOV2 = (
    "vit_small_patch14_dinov2.lvd142m",
    "vit_small_patch14_reg4_dinov2.lvd142m",
    "vit_giant_patch14_dinov2.lvd142m",
    "vit_giant_patch14_reg4_dinov2.lvd142m",
)
PREPARE = f"""
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
import functools
import numpy as np
from timm_peer import timm
from pathlib import Path
def file(name): return Path(sys.argv[1], f"{{name}}.safetensors")
def small_dinov2():
    original = timm.create_model
    @functools.wraps(original)
    def create(name, **options):
        if "dinov2" in name:
            options = {{"img_size": 56, "embed_dim": 96, "depth": 2, "num_heads": 4, **options}}
        return original(name, **options)
    timm.create_model = create
small_dinov2()
"""
SAVE = (
    PREPARE
    + f"""
from safetensors.torch import save_file
from check_timm import random_network
for name in {HEADLESS + DINOV2!r}:
    network = random_network(name)
    heads = network.pretrained_cfg["classifier"]
    heads = (heads, "head.norm") if isinstance(heads, str) else heads
    state = {{k: v.clone() for k, v in network.state_dict().items() if k.rpartition(".")[0] not in heads}}
    save_file(state, file(name))
give()
"""
)
CHECK = (
    PREPARE
    + """
import dataclasses
import keras
from kcomp import models
from kcomp.models.checkpoints import convert, dinov2, proof
from kcomp.models.checkpoints.known import checkpoints
for architecture, settings in dinov2.DINOV2_MODEL_CONFIG.items():
    settings.update(width=96, depth=2, heads=4)
for name, checkpoint in list(checkpoints().items()):
    if checkpoint.family == "dinov2":
        checkpoints()[name] = dataclasses.replace(checkpoint, size=(56, 56))

def pooled(name, size=None, **options):
    network = models.classifier(models.timm(name, size, file=file(name)), 3, **options)
    return keras.Model(network.input, network.get_layer("head").input)

def photographs(size): return np.random.default_rng(3).uniform(0, 255, (2, *size, 3)).astype("float32")

def peer(name, images, pool=None):
    "What timm computes from images in 0..255 with the weights of the file."
    import torch
    from safetensors.torch import load_file
    from timm.models.vision_transformer import checkpoint_filter_fn
    known = checkpoints()[name]
    size = {} if images.shape[1:3] == known.size else {"img_size": images.shape[1:3]}
    network = timm.create_model(name, num_classes=0, **size).eval()
    state = load_file(file(name))
    network.load_state_dict(checkpoint_filter_fn(state, network) if size else state, strict=False)
    normal = ((images / 255 - np.array(known.mean)) / np.array(known.std)).astype("float32")
    with torch.no_grad():
        x = torch.from_numpy(normal.transpose(0, 3, 1, 2).copy())
        return (network.forward_features(x) if pool == "tokens" else network(x)).numpy()

def difference(ours, theirs): return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("headless")
    in_backend("torch", SAVE, folder)
    return folder


@pytest.mark.parametrize("backend", one_slow("jax"))
def test_a_file_without_a_head_gives_the_features_of_timm(backend, folder, tmp_path):
    """The file of a masked autoencoder also lacks the last normalisation, which in timm then has the scale 1."""
    code = f"""
found = {{}}
for name in {HEADLESS!r}:
    if "distilled" in name:  # kcomp can pool one token or the patches, timm takes the mean of the two tokens
        backbone = models.timm(name, file=file(name))
        images = photographs(backbone.input_shape[1:3])
        tokens = backbone.predict_on_batch(images)
        found[name] = difference(tokens[:, :2].mean(1), peer(name, images))
    else:
        model = pooled(name)
        images = photographs(model.input_shape[1:3])
        found[name] = difference(model.predict_on_batch(images), peer(name, images))
convert.read_checkpoint = None  # the second time, the file is not read
again = models.timm({HEADLESS[2]!r}, file=file({HEADLESS[2]!r}))
equal = all(np.array_equal(a, b) for a, b in zip(backbone.get_weights(), again.get_weights(), strict=True))
give(found=found, first=backbone.pretrained_head.first_tokens, equal=equal)
"""
    result = in_backend(backend, CHECK + code, folder, cache=tmp_path)
    assert max(result["found"].values()) < 2e-4, result
    assert result["first"] == 2 and result["equal"]


def test_a_wrong_conversion_without_a_head_is_refused(folder, tmp_path):
    code = """
name = "vit_tiny_patch16_224.augreg_in21k"
known, path = checkpoints()[name], file(name)
arrays = convert.read_checkpoint(path)
network = convert.build_network(known, known.size, classes=1)
convert.transfer(known, arrays, network, path)
proof.prove(known, arrays, network, path)
layer = network.get_layer("blocks_5_dense_1")
layer.set_weights([array * 1.01 for array in layer.get_weights()])
try: proof.prove(known, arrays, network, path)
except ValueError as error: give(message=str(error))
"""
    assert "the features differ by" in in_backend("torch", CHECK + code, folder, cache=tmp_path)["message"]


@pytest.mark.parametrize("backend", backends())
def test_dinov2_gives_the_tokens_of_timm(backend, folder, tmp_path):
    """Without and with registers, dense or gated, at another size than that of the file, with two different sides.

    At the size of the file, kcomp itself compares the features.
    """
    code = f"""
found, firsts = {{}}, []
for name in {DINOV2!r}:
    backbone = models.timm(name, (42, 84), file=file(name))
    images = photographs((42, 84))
    tokens = backbone.predict_on_batch(images)
    found[f"{{name}} tokens"] = difference(tokens, peer(name, images, "tokens"))
    found[f"{{name}} class token"] = difference(tokens[:, 0], peer(name, images))
    firsts.append(backbone.pretrained_head.first_tokens)
found["patches"] = difference(pooled(name, (42, 84), pool="average").predict_on_batch(images), tokens[:, 5:].mean(1))
try: models.timm(name, 60, weights=None)
except ValueError as error: message = str(error)
give(found=found, firsts=firsts, message=message)
"""
    result = in_backend(backend, CHECK + code, folder, cache=tmp_path)
    assert max(result["found"].values()) < 1e-4, result
    assert result["firsts"] == [1, 5, 1, 5]
    assert "multiples of 14 px; received (60, 60)" in result["message"]
