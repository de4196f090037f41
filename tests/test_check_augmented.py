"""The pictures of what the network is fed: they are the images and labels of the training step itself."""

import json
import textwrap

import pytest
from conftest import backends, in_backend

FED = """
import dataclasses
import albumentations as A
import keras, numpy as np, pandas as pd
from types import SimpleNamespace
from kcomp import augment, data, models, targets
from kcomp.check.augmented import check_augmented, load_first_batch
from kcomp.prediction.forward import as_float
from kcomp.recipe import Recipe, Stage
from kcomp.training.mixed import apply_plans, planned_layers

def noise(number):
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)

@dataclasses.dataclass(frozen=True)
class Config:
    pass

def table(config):
    frame = pd.DataFrame({"image_id": [f"r{number}" for number in range(24)], "fold": np.arange(24) % 3})
    frame["image"] = pd.Series([noise(number) for number in range(24)], dtype=object)
    target = eval(settings.get("target", "targets.OneOf(('cat', 'dog'))"))
    labels = np.stack([np.arange(24) % 2] * len(target.columns), 1).astype(np.float32)
    if target.name == "one class":
        labels[:, 0] = 1 - labels[:, 1]
    return data.Table(frame.assign(**dict(zip(target.columns, labels.T))), target)

def batches(config, rows, training, seed):
    transform = eval(settings["transform"]) if "transform" in settings else None
    layers = eval(settings.get("layers", "[]"))
    if settings.get("more"):  # as recipes/cards.py, which adds pictures to the training rows
        new = [rows.frame.assign(image_id=[f"new {number} {name}" for name in rows.ids], fold=-1) for number in range(9)]
        rows = dataclasses.replace(rows, frame=pd.concat([rows.frame, *new], ignore_index=True))
    return data.Batches(rows, 8, batch_size=8, training=training, seed=seed, transform=transform, layers=layers)

def stages(config):
    options = settings.get("stage", {})
    return [Stage("head", 1, "head", keras.optimizers.Adam(1e-3), **options)]

"""

CHECK = """
recipe = Recipe(Config(), table=table, batches=batches, model=None, stages=stages)
rows = recipe.table(None)
facts = SimpleNamespace(readable=np.ones(24, bool), problem=np.array([""] * 24, object))
data_set = SimpleNamespace(table=rows, facts=facts)
part = check_augmented(recipe, data_set)
"""

SUMMARY = """
results[name] = dict(
    findings=[[finding.kind, finding.severity, finding.message, finding.image_ids] for finding in part.findings],
    verdict=part.section.verdict,
    notes=part.section.paragraphs[1:],
    galleries=[[caption, [list(picture.lines) for picture in pictures]] for caption, pictures in part.section.galleries],
    jpegs=all(picture.image[:2] == b"\\xff\\xd8" for _, pictures in part.section.galleries for picture in pictures),
    numbers=json.loads(json.dumps(part.numbers, default=float)),
)
"""

MIXUP = "[augment.MixUp(1.0)]"
FAULTS = {
    "normalised": ({"transform": "A.Compose([A.Normalize()])"}, "warning", "kcomp's networks expect 0 to 255"),
    "divided": ({"transform": "A.Compose([A.ToFloat(255)])"}, "warning", "values from 0 to 1"),
    "erased": (
        {"transform": "A.Compose([A.Erasing(scale=(1.0, 1.0), ratio=(1.0, 1.0), p=1.0)])"},
        "warning",
        "only one colour",
    ),
    "other size": ({"transform": "A.Compose([A.Resize(9, 9)])"}, "error", "the transform must return images of shape"),
    "infinite": ({"layers": "[keras.layers.Rescaling(1 / 0.0)]"}, "error", "cannot make batches"),
}
TARGETS = ("targets.AnyOf(('a', 'b'))", "targets.Numbers(('cm',))", "targets.Grades(('x', 'y'))")
CASES = {
    "mixed": {"layers": MIXUP, "transform": "A.Compose([A.HorizontalFlip(p=0.5)])"},
    "plain": {},
    "cached": {"layers": MIXUP, "stage": {"cache_views": 4, "mix_features": True}},
    "more": {"more": True},
    **{name: settings for name, (settings, _, _) in FAULTS.items()},
    **{target: {"target": target, "layers": MIXUP} for target in TARGETS},
}


@pytest.fixture(scope="module")
def results():
    """The parts of all cases, from one process."""
    body = textwrap.indent(CHECK + SUMMARY, "    ")
    code = (
        f"{FED}\nresults = {{}}\nfor name, settings in json.loads(sys.argv[1]).items():\n{body}\ngive(results=results)"
    )
    return in_backend("torch", code, json.dumps(CASES))["results"]


@pytest.mark.parametrize("backend", backends())
def test_images_and_labels_are_those_of_the_training_step(backend):
    code = """
settings = {"layers": "[augment.Switch(augment.MixUp(1.0), augment.CutMix(1.0))]"}
rows = table(None)
fed = load_first_batch(batches(None, data.split(rows, 0)[0], True, 0))
batch = batches(None, data.split(rows, 0)[0], True, 0).load(0, 0)
expected = apply_plans(planned_layers(eval(settings["layers"])), {**batch, "images": as_float(keras.ops.convert_to_tensor(batch["images"]))})
images, labels = (keras.ops.convert_to_numpy(expected[name]) for name in ("images", "labels"))
order = batches(None, data.split(rows, 0)[0], True, 0).order(0)[:8]
places = [order.tolist().index(row) for row in fed.rows]
give(
    images=bool((fed.mixed == images[places]).all()), labels=bool((fed.mixed_labels == labels[places]).all()),
    shown=sorted(fed.rows.tolist()) == sorted(order.tolist()), mixed=fed.is_mixed.tolist(),
    own=[[round(float(value), 3) for value in row] for row in fed.mixed_labels],
)
"""
    done = in_backend(backend, FED + code)
    assert done["images"] and done["labels"] and done["shown"]
    assert any(done["mixed"]) and any(0.01 < row[0] < 0.99 for row in done["own"])


def test_each_gallery_is_one_image_with_its_labels(results):
    done = results["mixed"]
    assert done["findings"] == [] and done["jpegs"] and len(done["galleries"]) == 6
    for caption, pictures in done["galleries"]:
        assert caption.startswith("r")
        assert [lines[0] for lines in pictures[:-1]] == [
            "original",
            *(f"augmented, epoch {epoch}" for epoch in (1, 2, 3)),
        ]
        assert pictures[0][1] == ("dog" if int(caption[1:]) % 2 else "cat")
        assert pictures[-1][0] in ("mixed, epoch 1", "not mixed, epoch 1")
    assert done["numbers"]["batches_per_epoch"] == 2 and done["numbers"]["image_shape"] == [8, 8, 3]
    assert done["verdict"].startswith("The network gets images of 8 x 8 pixels with 3 channels and values from ")


def test_without_mixing_there_is_no_mixed_picture(results):
    done = results["plain"]
    assert all(len(pictures) == 4 for _, pictures in done["galleries"])
    assert done["numbers"]["mixed_images"] == 0


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_augmentation_are_findings(name, results):
    _, severity, text = FAULTS[name]
    [finding] = results[name]["findings"]
    assert finding[:2] == ["augmentation", severity] and text in finding[2]


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_can_be_mixed(target, results):
    done = results[target]
    assert done["findings"] == [] and len(done["galleries"]) == 6


def test_a_stage_on_cached_features_is_explained(results):
    done = results["cached"]
    assert done["notes"] == [
        "Stage 'head' trains on cached features of 4 augmentations of each image, and mixes the features, not the images."
    ]
    assert all(len(pictures) == 4 for _, pictures in done["galleries"])


def test_a_recipe_may_add_rows_in_its_batches(results):
    result = results["more"]
    names = [caption for caption, _ in result["galleries"]]
    assert "failed" not in result["numbers"] and any("new" in name for name in names)
