"""Images travel to the device as uint8 and become float32 in the compiled step, with equal results."""

import albumentations as A
import conftest
import numpy as np
import pytest

from kcomp import data

STEPS = """
import keras
import numpy as np
from keras import layers
from kcomp import augment, data
from kcomp.prediction.forward import compile_forward, predict_views
from kcomp.training.frozen.forward import split_stage
from kcomp.training.mixed import Mixed
from kcomp.views import left_right, plain

class Floats(data.Batches):
    def assemble(self, *arguments):
        batch = super().assemble(*arguments)
        return batch | {"images": batch["images"].astype(np.float32)}
    def image(self, row, epoch=0, copy_number=0):
        return super().image(row, epoch, copy_number).astype(np.float32)

def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 10, 3))
    x = layers.Conv2D(6, 3, padding="same", name="low")(layers.Rescaling(1 / 128, -0.9)(inputs))
    x = layers.Conv2D(8, 3, 2, padding="same", name="high")(layers.ReLU()(layers.BatchNormalization()(x)))
    x = layers.Dropout(0.2, seed=1)(layers.GlobalAveragePooling2D()(layers.ReLU()(x)))
    return keras.Model(inputs, layers.Dense(10, name="head")(x))

received = []
call = Mixed.call
def recording(self, inputs, training=False):
    received.append([str(inputs["images"].dtype).removeprefix("torch."), list(inputs["images"].shape)])
    return call(self, inputs, training=training)
Mixed.call = recording

class Losses(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs): losses.append(float(logs["loss"]))

table = data.sklearn_digits().rows(np.arange(64))
mixing = [augment.Switch(augment.MixUp(0.4), augment.CutMix(1.0)), augment.RandomErasing(0.5)]
results = []
for kind in (data.Batches, Floats):
    batches = kind(table, (8, 10), batch_size=16, training=True, seed=3, layers=mixing)
    for train in ("low|high", "high"):
        model = network()
        for layer in model.layers:
            layer.trainable = layer.name in train.split("|") or layer.name == "head"
        parts = split_stage(model, mixing)
        step = Mixed(parts.trained, parts.layers)
        step.compile(optimizer=keras.optimizers.Adam(1e-2), loss=keras.losses.CategoricalCrossentropy(from_logits=True))
        losses = []
        step.fit(((parts.prepare(batch),) for batch in batches.epochs(0, 2)), steps_per_epoch=4, epochs=2, verbose=0,
                 callbacks=[Losses()])
        rows = kind(table, (8, 10), batch_size=16)
        probabilities = predict_views(compile_forward(model), rows, table.target, views=[plain, left_right]).mean(0)
        results.append([losses, probabilities.tolist(), parts.frozen is not None, (received or [None])[0]])
        received.clear()
give(results=results)
"""


@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_equal_results_with_a_quarter_of_the_bytes(backend, tmp_path):
    whole, frozen, whole_floats, frozen_floats = conftest.in_backend(backend, STEPS, cache=tmp_path)["results"]
    assert len(whole[0]) == 8
    assert whole[:2] == whole_floats[:2] and frozen[:2] == frozen_floats[:2]
    assert not whole[2] and frozen[2]
    assert whole[3] == ["uint8", [16, 8, 10, 3]] and whole_floats[3] == ["float32", [16, 8, 10, 3]]


def test_batches_are_bytes_unless_the_pipeline_makes_floats():
    table = data.sklearn_digits().rows(np.arange(8))
    images = data.Batches(table, 8, batch_size=8)[0]["images"]
    assert images.dtype == np.uint8 and images.nbytes == 8 * 8 * 8 * 3
    floats = data.Batches(table, 8, batch_size=8, transform=A.Compose([A.ToFloat(max_value=255)]))[0]["images"]
    assert floats.dtype == np.float32 and 0 < floats.max() <= 1
