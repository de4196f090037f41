"""Choose the runs whose weights are averaged: all runs, or only runs that do not worsen the score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.ensembles.cross_validation import stratified_parts
from kcomp.metrics.scores import Scorer


@dataclass(frozen=True)
class Candidate:
    """The average of the weights of some runs. A run is a finished training.

    Attributes:
        members: The positions of the averaged runs in the list of all runs.
        probabilities: The predictions of the averaged weights for the held-out rows, (rows, columns).
        statistics: Batch normalisation statistics, recomputed with the averaged weights. None if the runs' statistics
            are averaged instead.
    """

    members: tuple[int, ...]
    probabilities: np.ndarray
    statistics: Any = None


Evaluate = Callable[[tuple[int, ...]], Sequence[Candidate]]  # from positions of runs to averages of their weights


@dataclass(frozen=True)
class SoupChoice:
    """The average of weights with the best score, and the best single run.

    For the unseen scores, the rows are divided into halves. A choice on one half is scored on the other half.

    Attributes:
        soup: The average of the weights of the chosen runs.
        best: The best single run.
        score: The score of `soup` on all rows, which were also used to choose it.
        best_score: The score of `best` on all rows, which were also used to choose it.
        unseen_score: The score of averages on rows that were not used to choose them.
        unseen_best_score: The score of single runs on rows that were not used to choose them.
        scorer: Computes the metric.
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
    """Choose which runs to average, by the metric on the held-out rows.

    Args:
        evaluate: Takes positions of runs, and averages their weights. Returns one or two candidates, which differ in
            their batch normalisation.
        count: The number of runs.
        labels: The true labels of the held-out rows, (rows, columns).
        method: "uniform" averages all runs. "greedy" adds runs one by one if they do not worsen the score.
        scorer: Computes the metric.
    """

    def value(probabilities: np.ndarray, rows: np.ndarray) -> float:
        return scorer(labels[rows], probabilities[rows])

    def chosen(rows: np.ndarray) -> tuple[Candidate, Candidate]:

        def cost(candidate: Candidate) -> float:
            return as_cost(scorer, value(candidate.probabilities, rows))

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


def as_cost(scorer: Scorer, value: float) -> float:
    """Return a number that is lower for a better score. It is infinity for NaN."""
    if np.isnan(value):
        return np.inf
    return -value if scorer.metric.higher_is_better else value


def uniform(evaluate: Evaluate, ordered: Sequence[Candidate], cost: Callable[[Candidate], float]) -> Candidate:
    """Average the weights of all runs. `greedy` describes the arguments."""
    return min(evaluate(tuple(sorted(number for run in ordered for number in run.members))), key=cost)


def greedy(evaluate: Evaluate, ordered: Sequence[Candidate], cost: Callable[[Candidate], float]) -> Candidate:
    """Average the weights of the best run and of each other run that does not worsen the score.

    Args:
        evaluate: Takes positions of runs, and averages their weights. Returns one or two candidates, which differ in
            their batch normalisation.
        ordered: The single runs, the best first.
        cost: Takes a candidate. Returns a number that is lower for a better candidate.
    """
    soup = ordered[0]
    for run in ordered[1:]:
        larger = min(evaluate(tuple(sorted(soup.members + run.members))), key=cost)
        if cost(larger) <= cost(soup):
            soup = larger
    return soup
