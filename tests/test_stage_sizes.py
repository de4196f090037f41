"""A stage with smaller images: pixels, both backends, cached features, a killed run, and what is refused."""

import conftest
import cv2
import numpy as np
import pytest

from kcomp import data

RECIPE = """
from dataclasses import dataclass
import keras
import numpy as np
from kcomp import augment, data, views
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    flat: bool = False
    size: int = 8
    cache: bool = False
    weights: bool = False
    sampling: str = "balanced"

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(90)), 3)

def batches(config, rows, training, seed):
    options = {"training": training, "seed": seed, "sampling": config.sampling, "layers": [augment.MixUp(0.2)]}
    return data.Batches(rows, 16, batch_size=20, **options)

def model(config, target):
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="low")(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Conv2D(6, 3, name="high")(x)
    x = keras.layers.Flatten()(x) if config.flat else keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(target.outputs, name="head")(x))

def stages(config):
    options = {"cache_views": 1, "mix_features": True} if config.cache else {}
    train = "head|high" if config.cache else "all"
    weights = "balanced" if config.weights else None
    return [Stage("small", 2, train, keras.optimizers.Adam(0.01), image_size=config.size, class_weights=weights, **options),
            Stage("whole", 1, train, keras.optimizers.Adam(0.01), **options)]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last")
"""

TRAIN = """
import io, os, pathlib
from rich.console import Console
from kcomp.recipe import load
from kcomp.runs.folder import Run
from kcomp.training.fit import train
import kcomp.training.record as record
os.chdir(sys.argv[2])
pathlib.Path("sizes.py").write_text(sys.argv[1])

def trained(folder, stop=None, **values):
    loaded, text = load("sizes.py").with_values(**values), io.StringIO()
    try:
        train(loaded, Run(folder), seed=0, fold=0, console=Console(file=text, width=200))
    except KeyboardInterrupt:
        pass
    except ValueError as error:
        return str(error)
    return text.getvalue()

def weights(folder):
    import h5py, hashlib
    values = {}
    with h5py.File(f"{folder}/best.weights.h5") as file:
        file.visititems(lambda name, item: values.update({name: item[()].tolist()}) if isinstance(item, h5py.Dataset) else None)
    return values

text = trained("plain")
cached = trained("cached", cache=True)

save, resumed = record.state.save, []
def killed(*arguments):  # the run is killed after the first epoch of the small stage
    save(*arguments)
    record.state.save = save
    raise KeyboardInterrupt
record.UNSAVED = 0
for name in sys.argv[3:]:
    record.state.save = killed
    trained(f"{name}-again", cache=name == "cached")
    trained(f"{name}-again", cache=name == "cached")
    resumed.append(weights(name) == weights(f"{name}-again"))
give(
    text=text, cached=cached, flat=trained("flat", flat=True), large=trained("large", size=17),
    both=trained("both", weights=True),
    resumed=resumed,
)
"""


def test_images_are_augmented_first_and_then_made_smaller():
    rows = data.sklearn_digits().rows(np.arange(12))
    whole = data.Batches(rows, 16, batch_size=4, training=True)
    small = whole.resized((8, 6))
    expected = [cv2.resize(image, (6, 8), interpolation=cv2.INTER_AREA) for image in whole[1]["images"]]
    np.testing.assert_array_equal(small[1]["images"], expected)
    np.testing.assert_array_equal(small[1]["labels"], whole[1]["labels"])
    assert whole[1]["images"].shape == (4, 16, 16, 3) and small.image_size == (8, 6)
    with pytest.raises(ValueError, match="only be made smaller than 16 x 16; received 17"):
        whole.resized(17)


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_stage_trains_on_smaller_images(backend, tmp_path):
    names = ["plain", "cached"] if backend == "torch" else ["plain"]
    result = conftest.in_backend(backend, TRAIN, RECIPE, str(tmp_path), *names, cache=tmp_path / "cache")
    assert "images of 16 x 16 pixels, 20 a batch, sampling 'balanced'" in result["text"]
    assert "stage 'small': 3 layers trained" in result["text"] and "weights, images of 8 x 8 pixels" in result["text"]
    assert "images of 8 x 8 pixels, on frozen features of shape (3, 3, 4)" in result["cached"]
    assert "on frozen features of shape (7, 7, 4)" in result["cached"]
    assert "image_size needs a network of convolutions and global pooling" in result["flat"]
    assert "stage 'small': image_size: images can only be made smaller than 16 x 16; received 17" in result["large"]
    assert "class_weights and sampling='balanced' of the batches both weight the rows" in result["both"]
    assert result["resumed"] == [True] * len(names)
