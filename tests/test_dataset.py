"""`Batches.as_dataset()` feeds plain `model.fit`: every batch of an epoch once, the next epoch's draws after it."""

import pytest
from conftest import backends, in_backend

HEAD = """
import keras, numpy as np
from kcomp import augment, data
rows = data.sklearn_digits().rows(np.arange(45))

def network(size=8):
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    model.compile(keras.optimizers.Adam(0.02), rows.target.loss(), metrics=["accuracy"])
    return model
"""

EPOCHS = """
batches = data.Batches(rows, 8, batch_size=8, training=True, seed=1, layers=[augment.MixUp(0.4), augment.CutMix(1.0)])
dataset = batches.as_dataset(workers=3)
read = []
original = dataset.load
dataset.load = lambda epoch, index: (read.append((epoch, index)), original(epoch, index))[1]
model = network()
keras.utils.set_random_seed(0)
model.fit(dataset, epochs=3, shuffle=False, verbose=0)
images, labels = dataset[0]
kinds = [str(images.dtype), str(labels.dtype)]
batch = batches.load(3, 0)
for layer, plan in zip(batches.layers, batch.pop("plans")):
    batch = layer(batch, plan=plan)
give(read=sorted(set(read)), epoch=dataset.epoch, kinds=kinds, shape=images.shape,
     same=bool(np.array_equal(images, keras.ops.convert_to_numpy(batch["images"]))
               and np.array_equal(labels, keras.ops.convert_to_numpy(batch["labels"]))),
     mixed=bool(((labels > 0) & (labels < 1)).any()), twice=len(read) - len(set(read)))
"""

TRAIN = """
plain = data.Batches(rows, 8, batch_size=16)
training = data.Batches(rows, 8, batch_size=16, training=True)
keras.utils.set_random_seed(0)
model = network()
history = model.fit(training.as_dataset(), validation_data=plain.as_dataset(), epochs=12, verbose=0).history
scores = model.evaluate(plain.as_dataset(), verbose=0, return_dict=True)
predicted = model.predict(plain.as_dataset(), verbose=0)
images = np.concatenate([plain.image(row)[None] for row in range(45)]).astype("float32")
direct = model.predict(images, verbose=0)
unlabelled = data.Batches(data.Table(rows.frame[["image_id", "image"]]), 8, batch_size=16).as_dataset()
give(loss=history["loss"], accuracy=scores["accuracy"], rows=len(predicted), far=float(abs(predicted - direct).max()),
     expected=float((direct.argmax(1) == rows.labels.argmax(1)).mean()), parts=len(unlabelled[0]),
     count=len(model.predict(unlabelled, verbose=0)))
"""


@pytest.mark.parametrize("backend", backends())
def test_an_epoch_has_each_batch_once(backend):
    outcome = in_backend(backend, HEAD + EPOCHS)
    assert outcome["epoch"] == 3 and outcome["kinds"] == ["float32"] * 2 and outcome["shape"] == [8, 8, 8, 3]
    assert [item for item in outcome["read"] if item[0] < 3] == [
        [epoch, index] for epoch in range(3) for index in range(5)
    ]
    assert outcome["same"] and outcome["mixed"] and outcome["twice"] <= 1  # `fit` may read a batch to build the model


@pytest.mark.parametrize("backend", backends())
def test_a_plain_model_trains(backend):
    outcome = in_backend(backend, HEAD + TRAIN)
    assert outcome["loss"][-1] < 0.3 * outcome["loss"][0] and outcome["accuracy"] == pytest.approx(outcome["expected"])
    assert outcome["accuracy"] > 0.9 and outcome["rows"] == outcome["count"] == 45 and outcome["far"] < 1e-5
    assert outcome["parts"] == 1


def test_wrong_numbers_are_refused():
    from kcomp import data

    batches = data.Batches(data.sklearn_digits(), 8, batch_size=16)
    with pytest.raises(ValueError, match="workers must be at least 1; received 0"):
        batches.as_dataset(workers=0)
