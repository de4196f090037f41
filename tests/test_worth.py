"""The study of scripts/worth.py: its statistics by hand, its variants, and the page that agrees with the results."""

import importlib
import math
import sys

import conftest
import pytest


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(conftest.ROOT / "scripts")
    yield importlib.import_module("worth_report")
    for name in ("worth_report", "worth_variants"):
        sys.modules.pop(name)


def row(variant, competition="cards", seed=0, **values):
    numbers = {"score": 0.5, "log_loss": 1.0, "scaled_log_loss": 1.0}
    costs = {"cpu": 10.0, "features_cpu": 4.0, "features_computed": 100.0, "features": 100.0}
    return {"variant": variant, "competition": competition, "seed": float(seed), **numbers, **costs, **values}


def test_page_has_the_results_of_the_file(report):
    text = report.PAGE.read_text()
    assert report.page_text(text, report.read_rows()) == text, "run scripts/worth.py report"


def test_pairs_have_equal_competition_and_seed(report):
    rows = [row("base recipe", seed=0), row("base recipe", seed=1), row("SGD", seed=1, score=0.7), row("SGD", seed=2)]
    [(own, base)] = report.pairs_of("SGD", rows)
    assert (own["score"], own["seed"], base["seed"]) == (0.7, 1, 1)


def test_interval_by_hand(report):
    """The values 1, 2, 3 have a mean of 2 and a standard error of 1 / sqrt(3); t is 4.3027 for 2 degrees of freedom."""
    mean, low, high = report.interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2, 2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-4)


def test_changes_are_relative(report):
    pairs = [(row("SGD", scaled_log_loss=0.2), row("base recipe", scaled_log_loss=0.4))]
    assert report.percent(report.relative(pairs).mean()) == "-50"


def test_holm_by_hand(report):
    """The limits are 0.05 / 4, / 3, / 2 and / 1. The third value is above its limit, so the fourth counts no more."""
    assert report.holm({"a": 0.012, "b": 0.016, "c": 0.026, "d": 0.04}) == {"a", "b"}


def test_cost_counts_cached_features(report):
    """The base needs 10 + 4 seconds. A variant that computes no feature needs 11 + 4, with twice the features 11 + 8."""
    base = row("base recipe")
    cached = {"features_computed": 0.0, "features_cpu": 0.1, "cpu": 11.0}
    assert report.cost([(row("SGD", **cached), base)]) == pytest.approx(15 / 14)
    assert report.cost([(row("SGD", **cached, features=200.0), base)]) == pytest.approx(19 / 14)
    assert report.cost([(row("SGD", features_computed=50.0), base)]) == pytest.approx((10 + 4 / 50 * 100) / 14)


BUILD = """
import os
import numpy as np
sys.path.insert(0, sys.argv[1])
import worth_parts
from kcomp import recipe as recipes
from worth_variants import VARIANTS
recipe = recipes.load(os.path.join(sys.argv[1], "worth_recipes.py")).recipe
image, sizes = np.zeros((400, 400, 3), np.uint8), set()
for variant in VARIANTS:
    for competition in ("ants-bees", "sign-digits", "cards"):
        config = recipe.with_values(competition=competition, **variant.values).config
        recipe.stages(config)
        worth_parts.MIXING[config.mixing]()
        transform = worth_parts.transform(config, config.image_size, True)
        if transform is not None:
            pixels = image[:config.image_size, :config.image_size] if competition == "sign-digits" else image
            assert transform(image=pixels)["image"].shape == (config.image_size,) * 2 + (3,), variant.name
give(built=len(VARIANTS))
"""


@pytest.mark.parametrize("backend", conftest.backends()[-1:])
def test_every_variant_can_be_built(backend):
    assert conftest.in_backend(backend, BUILD, conftest.ROOT / "scripts")["built"] > 70
