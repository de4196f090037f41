"""The images beside heat maps are those that the network gets."""

import pytest
from conftest import backends, in_backend

CODE = """
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pandas as pd
from kcomp import data
from kcomp.experiment import build
from kcomp.explain import pictures

images = [np.full((8, 8, 3), 40 * row, np.uint8) for row in range(3)]
table = data.Table(pd.DataFrame({"image_id": list("abc"), "image": pd.Series(images, dtype=object)}))
build.build_batches = lambda recipe, rows, *, training, seed: data.Batches(rows, 8, batch_size=2, training=training, seed=seed)
run = SimpleNamespace(folder=Path("run"), recipe=lambda: SimpleNamespace(recipe=None), manifest={"seed": 0})
pixels, problems = pictures.read_inputs(SimpleNamespace(table=table), run, [(2, 0), (2, 1), (0, 1)])
give(problems=problems, brightest=[[*place, int(values.max())] for place, values in sorted(pixels.items())])
"""


@pytest.mark.parametrize("backend", backends()[1:])
def test_a_row_may_be_shown_for_several_labels(backend):
    result = in_backend(backend, CODE)
    assert result == {"problems": [], "brightest": [[0, 1, 0], [2, 0, 80], [2, 1, 80]]}
