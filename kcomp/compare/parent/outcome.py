"""Compare scores on the same held-out rows, between two backends and between seeds."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from kcomp.compare.parent.score_text import decimals, direction_words, is_zero, metric_words, plain, signed
from kcomp.compare.parent.trained_runs import RunKey
from kcomp.compare.parent.verdict import display_name, exceeds_noise, score_decimals
from kcomp.metrics import Metric, accuracy
from kcomp.metrics.scores import Scorer
from kcomp.metrics.significance import mcnemar, paired_metric
from kcomp.report.text import quantity
from kcomp.runs.folder import Run
from kcomp.runs.scorer import scorer_of

SHOWN = 2  # how many metrics are compared: the recipe's, then others of the target


@dataclass(frozen=True)
class HeldOutPredictions:
    """Predictions of the same held-out rows by each backend and seed.

    Attributes:
        labels: The true labels (rows, columns).
        predictions: {(name of the backend, seed): predictions (rows, columns)}.
        scorer: Computes the metrics.
    """

    labels: np.ndarray
    predictions: Mapping[tuple[str, int], np.ndarray]
    scorer: Scorer

    @property
    def metrics(self) -> list[Metric]:
        return self.scorer.first(SHOWN)[:SHOWN]

    def of_backend(self, name: str, seeds: Sequence[int]) -> np.ndarray:
        """Return the predictions (seeds, rows, columns) of a backend. `name` is its name in the report."""
        return np.stack([self.predictions[name, seed] for seed in seeds])

    def difference(self, metric: Metric, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
        """Return metric(first) - metric(second), with its 95 % interval over rows, as a dict."""
        return asdict(paired_metric(metric, self.labels, first, second, target=self.scorer.target))


def compare_scores(runs: Mapping[RunKey, Run]) -> dict[str, Any]:
    """Compare the scores of two backends. Return a dict with scores, differences, tests, and a summary text
    (`sentence`).
    """
    labels = list(dict.fromkeys(label for label, _, _ in runs))
    seeds = list(dict.fromkeys(seed for _, seed, _ in runs))
    folds = list(dict.fromkeys(fold for _, _, fold in runs))
    held_out = read_held_out(runs, folds)
    scores = [
        {"label": label, "seed": seed, "fold": fold, "folder": str(run.folder), **run.result["scores"]}
        for (label, seed, fold), run in runs.items()
    ]
    first, second = (held_out.of_backend(label, seeds) for label in labels[:2])
    recipe_metric, compared = next(iter(runs.values())).manifest["metric"], held_out.metrics[0].name
    outcome = {
        "labels": labels,
        "function": recipe_metric if recipe_metric != compared else None,
        "seeds": seeds,
        "folds": folds,
        "scores": scores,
        "shown": list(next(iter(runs.values())).result["scores"]),
        "metrics": [metric.name for metric in held_out.metrics],
        "higher_is_better": {metric.name: metric.higher_is_better for metric in held_out.metrics},
        "rows": len(held_out.labels),
        "frameworks": {metric.name: held_out.difference(metric, first, second) for metric in held_out.metrics},
        "mcnemar": mcnemar_rows(held_out, labels, seeds),
        "seeds_apart": seed_differences(held_out, labels, seeds),
        "noise": {metric.name: paired_t_test(held_out, labels, seeds, metric) for metric in held_out.metrics},
        "identical": bool(np.array_equal(first, second)),
    }
    return outcome | {"sentence": sentence(outcome)}


def read_held_out(runs: Mapping[RunKey, Run], folds: Sequence[int]) -> HeldOutPredictions:
    """Return the held-out predictions of all folds. Raise ValueError if the runs predicted different rows."""
    frames: dict[tuple[str, int], pd.DataFrame] = {}
    for label, seed in dict.fromkeys((label, seed) for label, seed, _ in runs):
        frame = pd.concat([runs[label, seed, fold].probabilities("oof") for fold in folds])
        first = next(iter(frames.values()), frame)
        if set(frame.index) != set(first.index):
            raise ValueError(
                f"the runs of {label}, seed {seed}, were scored on other rows than the first; train them again"
            )
        frames[label, seed] = frame.loc[first.index, first.columns]
    first = next(iter(frames.values()))
    label, seed, _ = next(iter(runs))
    truth = pd.concat([runs[label, seed, fold].probabilities("labels") for fold in folds])
    predictions = {key: frame.to_numpy(np.float64) for key, frame in frames.items()}
    scorer = known_scorer(runs[label, seed, folds[0]])
    return HeldOutPredictions(truth.loc[first.index, first.columns].to_numpy(np.float64), predictions, scorer)


def known_scorer(run: Run) -> Scorer:
    """Return the scorer of the run's metric.

    If the metric is a function of the recipe, whose code is not loaded here, return the scorer of the target's default
    metric.
    """
    try:
        return scorer_of([run])
    except ValueError:
        return scorer_of([run], run.target.default_metric)


def mcnemar_rows(held_out: HeldOutPredictions, labels: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return McNemar's test between the two backends, a dict for each seed. Empty for targets without classes.

    A dict has the seed, how many rows only the first or only the second backend predicts right, and the p-value `p`.
    """
    target = held_out.scorer.target
    if accuracy.name not in target.shown_metrics:
        return []
    rows = []
    for seed in seeds:
        right = [
            accuracy.row_values(held_out.labels, held_out.predictions[label, seed], target) > 0.5
            for label in labels[:2]
        ]
        only_first, only_second, p = mcnemar(*right)
        rows.append({"seed": seed, "only_first": only_first, "only_second": only_second, "p": p})
    return rows


def seed_differences(held_out: HeldOutPredictions, labels: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return the differences in score between seeds, with their intervals over rows.

    The result has a dict for each combination of a backend, two of its seeds, and a metric.
    """
    return [
        {"label": label, "seeds": [first, second], "metric": metric.name}
        | held_out.difference(metric, held_out.predictions[label, first], held_out.predictions[label, second])
        for label, (first, second), metric in itertools.product(
            labels, itertools.combinations(seeds, 2), held_out.metrics
        )
    ]


def paired_t_test(
    held_out: HeldOutPredictions, labels: Sequence[str], seeds: Sequence[int], metric: Metric
) -> dict[str, Any] | None:
    """Return Student's t test of the scores of two backends, paired by seed. Return None if there is only one seed.

    The result is a dict with the mean `difference`, its standard deviation over seeds (`spread`), the p-value `p`, and
    the number of `seeds`.
    """
    if len(seeds) < 2:
        return None
    samples = [
        [metric(held_out.labels, held_out.predictions[label, seed], held_out.scorer.target) for seed in seeds]
        for label in labels[:2]
    ]
    spread = math.sqrt(float(np.mean([np.var(sample, ddof=1) for sample in samples])))
    difference = float(np.mean(samples[0]) - np.mean(samples[1]))
    paired = np.subtract(samples[0], samples[1])
    p_without_spread = 1.0 if difference == 0 else 0.0  # if the difference is the same for every seed
    p = float(stats.ttest_1samp(paired, 0.0).pvalue) if np.ptp(paired) else p_without_spread
    return {"difference": difference, "spread": spread, "p": p, "seeds": len(seeds)}


def sentence(outcome: Mapping[str, Any]) -> str:
    first, second = map(display_name, outcome["labels"][:2])
    counts = {"seed": len(outcome["seeds"]), "fold": len(outcome["folds"]), "row": outcome["rows"]}
    size = ", ".join(quantity(count, noun) for noun, count in counts.items())
    if outcome["identical"]:
        return f"{first} and {second} predict the same for every row, to the last digit (n = {size})."
    sentences = [score_sentence(outcome, name) for name in outcome["metrics"]]
    if outcome["function"] is not None:
        named = f"The recipe's metric {outcome['function']} is a function of the recipe"
        sentences.insert(0, f"{named}, so differences are measured by {metric_words(outcome['metrics'][0])}.")
    if len(outcome["seeds"]) < 2:
        sentences.append(
            "With one seed this says nothing about the frameworks: seeds may differ as much. Try --seed 0,1,2."
        )
    return f"{' '.join(sentences)} (n = {size})"


def score_sentence(outcome: Mapping[str, Any], name: str) -> str:
    tested, interval, clear = outcome["noise"][name], outcome["frameworks"][name], exceeds_noise(outcome, name)
    difference = interval["mean"] if tested is None else tested["difference"]
    if math.isnan(difference):
        return f"The {metric_words(name)} is undefined on these rows."
    sizes = [interval["low"], interval["high"]] if tested is None else [tested["spread"]]
    places = max(score_decimals(outcome, name), decimals([difference, *sizes]) if clear else 0)
    words = difference_words(outcome, name, difference, places)
    if tested is None:
        bounds = f"95 % interval over rows {signed(interval['low'], places)} to {signed(interval['high'], places)}"
        return f"{words} ({bounds}: {'0 is outside' if clear else '0 is inside, so this may be chance'})."
    chance = "more than seed noise" if clear else "not more than seed noise"
    spread = f"standard deviation between seeds {plain(tested['spread'], places)}, p = {tested['p']:.2g}"
    return f"{words}: {chance} ({spread})."


def difference_words(outcome: Mapping[str, Any], name: str, difference: float, places: int) -> str:
    """Return a text that says which backend has the higher score, and whether higher is better.

    Args:
        outcome: What `compare_scores` returned.
        name: The metric.
        difference: The score of the first backend minus that of the second.
        places: How many decimals are written.
    """
    (first, second), noun = map(display_name, outcome["labels"][:2]), metric_words(name)
    if is_zero(difference, places):
        return f"{first} and {second} have the same {noun} to {places} decimals"
    direction = direction_words(difference, outcome["higher_is_better"][name])
    return f"The {noun} of {first} is {plain(abs(difference), places)} {direction} than that of {second}"
