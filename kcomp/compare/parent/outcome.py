"""Compare the scores of the same folds and seeds on two backends with the noise of the seed. No Keras."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from kcomp.compare.parent.trained_runs import RunKey
from kcomp.compare.parent.verdict import display_name, exceeds_noise
from kcomp.metrics.significance import mcnemar, paired_interval, row_values
from kcomp.report.text import quantity
from kcomp.runs.folder import Run

METRICS = ("accuracy", "log_loss")
RowValues = Mapping[tuple[str, int], pd.DataFrame]  # by label and seed: accuracy and log_loss of each held-out row


def compare_scores(runs: Mapping[RunKey, Run]) -> dict[str, Any]:
    """Return scores, the paired difference of the first two labels, the differences of seeds, and a sentence."""
    labels = list(dict.fromkeys(label for label, _, _ in runs))
    seeds = list(dict.fromkeys(seed for _, seed, _ in runs))
    folds = list(dict.fromkeys(fold for _, _, fold in runs))
    values = {
        (label, seed): row_frame([runs[label, seed, fold] for fold in folds]) for label in labels for seed in seeds
    }
    check_rows(values)
    scores = [
        {"label": label, "seed": seed, "fold": fold, "folder": str(run.folder), **run.result["scores"]}
        for (label, seed, fold), run in runs.items()
    ]
    outcome = {
        "labels": labels,
        "seeds": seeds,
        "folds": folds,
        "scores": scores,
        "rows": len(values[labels[0], seeds[0]]),
        "frameworks": {name: backend_difference(values, labels, seeds, name) for name in METRICS},
        "mcnemar": [mcnemar_row(values, labels, seed) for seed in seeds],
        "seeds_apart": seed_differences(values, labels, seeds),
        "noise": {name: noise(values, labels, seeds, name) for name in METRICS},
        "identical": all(identical(values, labels, seed) for seed in seeds),
    }
    return outcome | {"sentence": sentence(outcome)}


def row_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return accuracy and log_loss of each held-out row, by image id."""
    frames = []
    for run in runs:
        probabilities, labels = run.probabilities("oof"), run.probabilities("labels")
        truth = labels.loc[probabilities.index, probabilities.columns].to_numpy()
        frames.append(pd.DataFrame(row_values(truth, probabilities.to_numpy()), index=probabilities.index))
    return pd.concat(frames)


def check_rows(values: RowValues) -> None:
    """Raise ValueError where the runs were scored on different rows."""
    expected = set(next(iter(values.values())).index)
    for (label, seed), frame in values.items():
        if set(frame.index) != expected:
            raise ValueError(
                f"the runs of {label}, seed {seed}, were scored on other rows than the first; train them again"
            )


def column(values: RowValues, label: str, seed: int, name: str) -> np.ndarray:
    order = next(iter(values.values())).index
    return values[label, seed].loc[order, name].to_numpy(np.float64)


def backend_difference(values: RowValues, labels: Sequence[str], seeds: Sequence[int], name: str) -> dict[str, Any]:
    """Return the first label's mean over the rows minus the second's; each row's value is a mean over the seeds."""
    first, second = (np.mean([column(values, label, seed, name) for seed in seeds], axis=0) for label in labels[:2])
    return asdict(paired_interval(first, second))


def mcnemar_row(values: RowValues, labels: Sequence[str], seed: int) -> dict[str, Any]:
    only_first, only_second, p = mcnemar(*(column(values, label, seed, "accuracy") > 0.5 for label in labels[:2]))
    return {"seed": seed, "only_first": only_first, "only_second": only_second, "p": p}


def seed_differences(values: RowValues, labels: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return the difference of every two seeds on one label, with its interval over rows."""
    return [
        {"label": label, "seeds": [first, second], "metric": name}
        | asdict(paired_interval(column(values, label, first, name), column(values, label, second, name)))
        for label, (first, second), name in itertools.product(labels, itertools.combinations(seeds, 2), METRICS)
    ]


def noise(values: RowValues, labels: Sequence[str], seeds: Sequence[int], name: str) -> dict[str, Any] | None:
    """Return Student's t test of the two labels' scores, paired by seed, and their spread; None for a single seed.

    Scores of one seed are a pair because they share starting weights, the order of batches, and random draws.
    """
    if len(seeds) < 2:
        return None
    samples = [[float(column(values, label, seed, name).mean()) for seed in seeds] for label in labels[:2]]
    spread = math.sqrt(float(np.mean([np.var(sample, ddof=1) for sample in samples])))
    difference = float(np.mean(samples[0]) - np.mean(samples[1]))
    paired = np.subtract(samples[0], samples[1])
    p_without_spread = 1.0 if difference == 0 else 0.0  # where the difference is the same for every seed
    p = float(stats.ttest_1samp(paired, 0.0).pvalue) if np.ptp(paired) else p_without_spread
    return {"difference": difference, "spread": spread, "p": p, "seeds": len(seeds)}


def identical(values: RowValues, labels: Sequence[str], seed: int) -> bool:
    first, second = (column(values, label, seed, "log_loss") for label in labels[:2])
    return bool((first == second).all())


def sentence(outcome: Mapping[str, Any]) -> str:
    """Return the outcome in words."""
    first, second = map(display_name, outcome["labels"][:2])
    counts = {"seed": len(outcome["seeds"]), "fold": len(outcome["folds"]), "row": outcome["rows"]}
    size = ", ".join(quantity(count, noun) for noun, count in counts.items())
    if outcome["identical"]:
        return f"{first} and {second} predict the same for every row, to the last digit (n = {size})."
    sentences = [score_sentence(outcome, name, first, second) for name in METRICS]
    if len(outcome["seeds"]) < 2:
        sentences.append(
            "With one seed this says nothing about the frameworks: seeds may differ as much. Try --seed 0,1,2."
        )
    return f"{' '.join(sentences)} (n = {size})"


def score_sentence(outcome: Mapping[str, Any], name: str, first: str, second: str) -> str:
    tested, interval = outcome["noise"][name], outcome["frameworks"][name]
    noun, clear = name.replace("_", " "), exceeds_noise(outcome, name)
    if tested is None:
        bounds = f"95 % interval over rows {signed(interval['low'])} to {signed(interval['high'])}"
        chance = "0 is outside" if clear else "0 is inside, so this may be chance"
        return f"{difference_words(noun, interval['mean'], first, second)} ({bounds}: {chance})."
    chance = "more than seed noise" if clear else "not more than seed noise"
    spread = f"standard deviation between seeds {tested['spread']:.4f}, p = {tested['p']:.2g}"
    return f"{difference_words(noun, tested['difference'], first, second)}: {chance} ({spread})."


def difference_words(noun: str, difference: float, first: str, second: str) -> str:
    """Say which score is higher; differences that four decimals do not show are called equal."""
    if round(abs(difference), 4) == 0:
        return f"{first} and {second} have the same {noun} to four decimals"
    direction = "higher" if difference > 0 else "lower"
    return f"The {noun} of {first} is {abs(difference):.4f} {direction} than that of {second}"


def signed(value: float) -> str:
    """Return a number with four decimals and its sign; what rounds to zero has none."""
    return "0.0000" if round(abs(value), 4) == 0 else f"{value:+.4f}"
