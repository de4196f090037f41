"""Prediction: rows keep their order, views are averaged as probabilities, several to a forward pass."""

import albumentations as A
import numpy as np
import pytest

from kcomp import data, views
from kcomp.system.backends import choose_backend, prepare_backend
from kcomp.targets import OneOf

TABLE = data.sklearn_digits().rows(np.arange(23))


@pytest.fixture(scope="module")
def forward_module():
    """In this process, on whichever backend there is; the network is a function here."""
    prepare_backend(choose_backend(None))
    from kcomp.prediction import forward

    return forward


def batches(**options):
    return data.Batches(TABLE, 8, batch_size=6, seed=1, **options)


HALVES = OneOf(("left", "right"))


def left_half(images):
    """Logits of two classes: the mean of the left half and of the right half, in tenths of a level."""
    assert images.dtype == np.uint8 and images.shape[1:] == (8, 8, 3)
    images = images.astype(np.float32)
    return np.stack([images[:, :, :4].mean((1, 2, 3)), images[:, :, 4:].mean((1, 2, 3))], 1) / 25


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


PIXELS = np.repeat(np.stack(TABLE.images)[..., None], 3, axis=3)


def test_plain_predictions_in_the_tables_order(forward_module):
    found = forward_module.predict_rows(left_half, batches(), HALVES)
    np.testing.assert_allclose(found, softmax(left_half(PIXELS)), rtol=1e-5)


def test_views_are_averaged_as_probabilities(forward_module):
    found = mean_of_views(forward_module, [views.plain, views.left_right])
    plain, flipped = softmax(left_half(PIXELS)), softmax(left_half(PIXELS[:, :, ::-1]))
    np.testing.assert_allclose(found, (plain + flipped) / 2, rtol=1e-5)
    np.testing.assert_allclose(found, 0.5, atol=1e-6)  # the flip swaps the halves


def mean_of_views(forward_module, chosen, **options):
    by_view = forward_module.predict_views(left_half, batches(), HALVES, views=chosen, **options)
    return HALVES.view_mean(by_view)


def test_random_views_are_the_training_pipelines_and_repeatable(forward_module):
    augmented = batches(training=True, transform=A.Compose([A.Affine(rotate=(-40, 40), p=1.0)]))
    chosen = [views.plain, *views.random(3)]
    first = mean_of_views(forward_module, chosen, augmented=augmented)
    parts = [softmax(left_half(np.stack([augmented.image(row, epoch=draw) for row in range(23)]))) for draw in range(3)]
    np.testing.assert_allclose(first, (softmax(left_half(PIXELS)) + sum(parts)) / 4, rtol=1e-5)
    alone = mean_of_views(forward_module, views.random(3), augmented=augmented)  # without the plain view
    np.testing.assert_allclose(alone, sum(parts) / 3, rtol=1e-5)
    with pytest.raises(ValueError, match="training pipeline"):
        mean_of_views(forward_module, chosen)


def test_every_pass_has_one_shape(forward_module):
    """So JAX compiles once: 23 rows with 2 views in passes of 6 images, 9 views in passes of one row."""
    for count, shape in ((1, 6), (2, 6), (9, 9)):
        shapes = []
        chosen = [views.plain, *views.random(count - 1)]

        def forward(images, shapes=shapes):
            shapes.append(len(images))
            return left_half(images)

        forward_module.predict_views(forward, batches(), HALVES, augmented=batches(training=True), views=chosen)
        assert set(shapes) == {shape}
