"""Choose the runs whose weights are averaged: all runs, or only runs that do not worsen the score (greedy)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.ensembles.cross_validation import stratified_parts
from kcomp.metrics.scores import Scorer

SOUPS = ("uniform", "greedy")


@dataclass(frozen=True)
class Candidate:
    """The average of the weights of some runs.

    members: The numbers of the runs.
    probabilities: Predictions for the held-out rows, of shape (rows, classes).
    statistics: New estimates of batch normalisation's statistics, or None without new estimates.
    """

    members: tuple[int, ...]
    probabilities: np.ndarray
    statistics: Any = None


Evaluate = Callable[[tuple[int, ...]], Sequence[Candidate]]  # returns the averages to choose from, for these runs


@dataclass(frozen=True)
class SoupChoice:
    """The soup chosen on all held-out rows, the best single run, and their scores by the metric.

    The `unseen` scores are computed on rows that the choice did not use. Each half of the rows is scored with the
    candidate that was chosen on the other half.
    """

    soup: Candidate
    best: Candidate
    score: float
    best_score: float
    unseen_score: float
    unseen_best_score: float
    scorer: Scorer

    @property
    def gains(self) -> bool:
        return len(self.soup.members) > 1 and self.scorer.metric.is_better(self.score, self.best_score)


def choose_soup(evaluate: Evaluate, count: int, labels: np.ndarray, *, method: str, scorer: Scorer) -> SoupChoice:
    """Choose which of `count` runs to average, by the metric on the held-out rows. `labels` are (rows, columns)."""

    def value(probabilities: np.ndarray, rows: np.ndarray) -> float:
        return scorer(labels[rows], probabilities[rows])

    def chosen(rows: np.ndarray) -> tuple[Candidate, Candidate]:

        def cost(candidate: Candidate) -> float:
            return ranked(scorer, value(candidate.probabilities, rows))

        singles = [evaluate((number,))[0] for number in range(count)]
        ordered = sorted(singles, key=cost)
        pick = uniform if method == "uniform" else greedy
        return pick(evaluate, ordered, cost), ordered[0]

    everything = np.ones(len(labels), bool)
    soup, best = chosen(everything)
    halves = stratified_parts(scorer.target.strata(labels), 2)
    unseen = np.empty((2, *soup.probabilities.shape))
    for half in (0, 1):
        for place, candidate in enumerate(chosen(halves != half)):
            unseen[place, halves == half] = candidate.probabilities[halves == half]
    return SoupChoice(
        soup,
        best,
        value(soup.probabilities, everything),
        value(best.probabilities, everything),
        value(unseen[0], everything),
        value(unseen[1], everything),
        scorer,
    )


def ranked(scorer: Scorer, value: float) -> float:
    """Return a number to minimise: the score, negated if higher is better, or infinity for NaN."""
    if np.isnan(value):
        return np.inf
    return -value if scorer.metric.higher_is_better else value


def uniform(evaluate: Evaluate, ordered: Sequence[Candidate], cost: Callable[[Candidate], float]) -> Candidate:
    """Return the best average of all runs."""
    return min(evaluate(tuple(sorted(number for run in ordered for number in run.members))), key=cost)


def greedy(evaluate: Evaluate, ordered: Sequence[Candidate], cost: Callable[[Candidate], float]) -> Candidate:
    """Add runs to the average one by one, the best first. Keep those that do not worsen it (Wortsman et al. 2022)."""
    soup = ordered[0]
    for run in ordered[1:]:
        larger = min(evaluate(tuple(sorted(soup.members + run.members))), key=cost)
        if cost(larger) <= cost(soup):
            soup = larger
    return soup
