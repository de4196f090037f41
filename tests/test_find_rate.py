"""The learning rate range test: smoothing and suggestion in float64, and the command on both backends."""

import conftest
import numpy as np
import pandas as pd
import pytest
import test_plateau

from kcomp.find_rate.suggestion import has_diverged, smooth, suggest

RATES = 1e-6 * 1e7 ** (np.arange(200) / 200)


def losses_of(bottom, floor=0.3):
    """A loss that falls from 2.3 to `floor` within two decades before the rate `bottom`, and then grows."""
    decades = np.log10(RATES / bottom)
    falling = 2.3 - (2.3 - floor) * np.clip((decades + 2) / 2, 0, 1)
    return np.where(decades > 0, floor * 10 ** (2 * decades), falling)


def test_smoothing_is_a_corrected_moving_average():
    losses = np.random.default_rng(0).random(30)
    expected = [
        sum(0.1 * 0.9 ** (t - s) * losses[s] for s in range(t + 1)) / (1 - 0.9 ** (t + 1)) for t in range(len(losses))
    ]
    np.testing.assert_allclose(smooth(losses), expected, rtol=1e-12)
    np.testing.assert_allclose(smooth(np.array([1.0, 3.0])), [1.0, (0.09 + 0.3) / 0.19])


def test_the_test_stops_when_the_loss_is_four_times_its_best():
    losses = np.array([1.0] * 60 + [5.0] * 60)  # after k steps at 5, the average is 5 - 4 * 0.9 ** k
    stops = next(count for count in range(1, 121) if has_diverged(losses[:count]))
    assert 5 - 4 * 0.9 ** (stops - 60) > 4 >= 5 - 4 * 0.9 ** (stops - 61)
    assert has_diverged(np.array([1.0, np.nan])) and not has_diverged(np.array([1.0, 0.9]))


@pytest.mark.parametrize("bottom", [1e-3, 3e-2, 0.5])
def test_the_suggestion_is_a_tenth_of_the_rate_with_the_lowest_loss(bottom):
    suggestion = suggest(RATES, losses_of(bottom))
    assert bottom <= suggestion.lowest <= 2 * bottom  # the average follows the loss late
    assert suggestion.rate == pytest.approx(suggestion.lowest / 10) and not suggestion.at_end
    assert bottom / 100 < suggestion.steepest < bottom


def test_a_loss_that_does_not_fall_has_no_suggestion():
    noise = 2.3 + 0.02 * np.random.default_rng(0).standard_normal(200)
    assert suggest(RATES, noise).rate is None
    falling = suggest(RATES, np.linspace(2.3, 1.0, 200))
    assert falling.at_end and falling.rate == pytest.approx(RATES[-1] / 10)
    assert suggest(RATES[:1], np.array([2.0])).rate is None


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_the_command_suggests_a_rate_and_leaves_runs_alone(backend, tmp_path):
    source = test_plateau.RECIPE.replace("keras.optimizers.SGD(rate, momentum=0.9)", "keras.optimizers.AdamW(1e-3)")
    (tmp_path / "small.py").write_text(source.replace("rows: int = 80", "rows: int = 300"))
    done = conftest.kcomp("find-rate", "small.py", "--stage", "all", "-o", "out", backend=backend, cwd=tmp_path)
    rates = pd.read_csv(tmp_path / "out" / "rates.csv")
    assert rates.rate[0] == pytest.approx(1e-6) and (rates.rate[1:].values > rates.rate[:-1].values).all()
    np.testing.assert_allclose(rates.rate, RATES[: len(rates)], rtol=1e-9)
    np.testing.assert_allclose(rates.smoothed, smooth(rates.loss.to_numpy()), rtol=1e-6)
    assert rates.loss[0] == pytest.approx(np.log(10), abs=0.05)  # the head starts at zero
    assert (tmp_path / "out" / "find-rate.png").read_bytes().startswith(b"\x89PNG")
    suggestion = suggest(rates.rate.to_numpy(), rates.loss.to_numpy())
    assert f"suggested highest rate: {suggestion.rate:.1e}" in done.stdout
    assert 1e-4 < suggestion.rate < 1 and "the highest rate of this stage is 1.0e-03" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "small.py"]


@pytest.mark.parametrize("backend", conftest.backends()[1:])
def test_an_unknown_stage_is_wrong_usage(backend, tmp_path):
    (tmp_path / "small.py").write_text(test_plateau.RECIPE)
    done = conftest.kcomp("find-rate", "small.py", "--stage", "al", backend=backend, cwd=tmp_path, check=False)
    assert done.returncode == 2 and "no stage 'al'; the recipe's stages are head, all" in done.stderr


GROUPS = """
import keras
from kcomp import schedules
from kcomp.find_rate.measure import set_rising_rates
from kcomp.recipe import Stage
from kcomp.training.rates import bind, parts_of, rate_of
groups = {"a.*": keras.optimizers.SGD(schedules.WarmupCosine(0.2, 4, warmup=1)), "b.*": keras.optimizers.SGD(0.05)}
stage = Stage("all", 4, "all", keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), groups)))
peak = set_rising_rates(stage, 100)
bind(stage.optimizer, 200)
give(peak=peak, rates=[rate_of(part) for part in parts_of(stage.optimizer)])
"""


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_rates_of_several_optimizers_rise_together(backend):
    measured = conftest.in_backend(backend, GROUPS)
    assert measured["peak"] == pytest.approx(0.2)
    np.testing.assert_allclose(sorted(measured["rates"]), [0.25e-6, 0.5e-6, 1e-6], rtol=1e-5)


def test_losses_below_zero_do_not_end_the_test():
    """The loss may be a negative similarity: it falls from -0.1 to -0.9, then grows to more than 4 times its range."""
    falling = -np.linspace(0.1, 0.9, 120)
    assert not any(has_diverged(falling[: count + 1]) for count in range(len(falling)))
    assert has_diverged(np.concatenate([falling, np.full(60, 3.0)]))
    assert suggest(np.logspace(-6, 1, 120), falling).rate == pytest.approx(1.0)


@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_a_loss_that_becomes_infinite_is_not_said_to_grow(backend):
    code = """
import numpy as np
from kcomp.find_rate.measure import RangeTest
from kcomp.find_rate.report import describe
from kcomp.find_rate.suggestion import suggest
rates, losses = np.logspace(-6, -2, 120), np.linspace(2, 1, 120)
test = RangeTest("all", rates, losses, 1e-3, became_infinite=True)
give(text=" ".join(describe(test, suggest(rates, losses))))
"""
    text = conftest.in_backend(backend, code)["text"]
    assert "NaN or infinite" in text and "where the last finite loss lies" in text
    assert "4 times" not in text and "may work" not in text
