"""The images beside heat maps are those that the network gets."""

import numpy as np
import pytest
from conftest import backends, in_backend

from kcomp.explain.errors.pictures import draw
from kcomp.report.page import is_double, opened

CODE = """
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pandas as pd
from kcomp import data
from kcomp.experiment import build
from kcomp.explain.errors import pictures

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


@pytest.mark.parametrize("side", [8, 40, 96, 150, 224, 500])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_and_its_heat_map_have_two_places_for_every_size_of_a_network(side, channels):
    pixels = np.full((side, side, channels), 200, np.uint8)
    pair = draw(pixels, np.zeros((4, 4), np.float32))
    assert opened(pair).size == (300, 150) and is_double(pair)
    assert np.asarray(opened(pair)).min() > 190
    assert not is_double(draw(pixels, None))
