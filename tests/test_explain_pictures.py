"""The images beside heat maps are those that the network gets."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from kcomp import data
from kcomp.explain import pictures


def test_a_row_may_be_shown_for_several_labels(monkeypatch):
    images = [np.full((8, 8, 3), 40 * row, np.uint8) for row in range(3)]
    table = data.Table(pd.DataFrame({"image_id": list("abc"), "image": pd.Series(images, dtype=object)}))
    batches = SimpleNamespace(table=None)

    def build(recipe, rows, *, training, seed):
        return data.Batches(rows, 8, batch_size=2, training=training, seed=seed)

    monkeypatch.setattr("kcomp.experiment.build.build_batches", build)
    run = SimpleNamespace(folder=Path("run"), recipe=lambda: SimpleNamespace(recipe=batches), manifest={"seed": 0})
    places = [(2, 0), (2, 1), (0, 1)]
    pixels, problems = pictures.read_inputs(SimpleNamespace(table=table), run, places)
    assert problems == []
    assert {place: int(pixels[place].max()) for place in places} == {(2, 0): 80, (2, 1): 80, (0, 1): 0}
