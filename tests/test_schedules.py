"""Rates against the formulas, on both backends, at every update."""

import conftest
import numpy as np
import pytest


@pytest.mark.parametrize("backend", conftest.backends())
def test_rates(backend):
    found = conftest.in_backend(
        backend,
        """
import keras
from kcomp import schedules
from kcomp.training.rates import rate_of
def rates(schedule, count): return [float(schedule(step)) for step in range(count)]
cosine = schedules.WarmupCosine(1.0, 7, warmup=2, final=0.1, steps_per_epoch=2)
again = type(cosine).from_config(cosine.get_config())
optimizer = keras.optimizers.AdamW(schedules.Step(0.8, 1.5, 0.5, steps_per_epoch=2))
both = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {"a": keras.optimizers.SGD(0.3)}))
messages = []
for wrong in (lambda: schedules.WarmupCosine(1.0, 4, warmup=4), lambda: schedules.WarmupCosine(-1, 4), lambda: schedules.Step(1, 0)):
    try: wrong()
    except ValueError as error: messages.append(str(error))
give(cosine=rates(cosine, 20), again=rates(again, 20), constant=rates(schedules.Constant(0.5, warmup=0.1, steps_per_epoch=10), 4),
     step=rates(schedules.Step(0.8, 1.5, 0.5, steps_per_epoch=2), 7), now=rate_of(optimizer), both=rate_of(both), messages=messages)
""",
    )
    falling = [0.1 + 0.45 * (1 + np.cos(np.pi * t / 10)) for t in range(11)]
    np.testing.assert_allclose(found["cosine"], [0.2, 0.4, 0.6, 0.8, *falling, *[0.1] * 5], rtol=1e-5)
    assert found["again"] == found["cosine"] and found["constant"] == [0.25, 0.5, 0.5, 0.5]
    np.testing.assert_allclose(found["step"], [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2], rtol=1e-6)
    assert found["now"] == pytest.approx(0.8) and found["both"] == pytest.approx(0.3)
    assert "shorter than the 4 epochs" in found["messages"][0] and len(found["messages"]) == 3
