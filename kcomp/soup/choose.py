"""Which runs' weights are averaged: all, or greedily those that help; judged on rows they were not chosen on, too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.ensemble.cross_validation import stratified_parts
from kcomp.metrics import scores

SOUPS = ("uniform", "greedy")


@dataclass(frozen=True)
class Candidate:
    """The average of the weights of some runs, by number: its probabilities (rows, classes) of the held-out rows, and
    batch normalisation's statistics where they were estimated anew."""

    members: tuple[int, ...]
    probabilities: np.ndarray
    statistics: Any = None


Taste = Callable[[tuple[int, ...]], Sequence[Candidate]]  # what averaging these runs may give; one run: that run


@dataclass(frozen=True)
class Judgement:
    """What was chosen on all rows, the best single run there, their scores by the metric; and the same two scores on
    rows that neither was chosen on: each half of the rows is judged with what the other half chose."""

    soup: Candidate
    best: Candidate
    score: float
    best_score: float
    unseen_score: float
    unseen_best_score: float
    metric: str

    @property
    def gains(self) -> bool:
        return len(self.soup.members) > 1 and scores.better(self.metric, self.score, self.best_score)


def judge(taste: Taste, count: int, labels: np.ndarray, *, method: str, metric: str) -> Judgement:
    """Choose among `count` runs by a score of the held-out rows, `labels` (rows, classes)."""

    def value(found: np.ndarray, rows: np.ndarray) -> float:
        return scores.score(labels[rows], found[rows])[metric]

    def chosen(rows: np.ndarray) -> tuple[Candidate, Candidate]:
        singles = [taste((number,))[0] for number in range(count)]
        ordered = sorted(singles, key=lambda one: ranked(metric, value(one.probabilities, rows)))
        pick = uniform if method == "uniform" else greedy
        return pick(taste, ordered, lambda one: ranked(metric, value(one.probabilities, rows))), ordered[0]

    everything = np.ones(len(labels), bool)
    soup, best = chosen(everything)
    halves = stratified_parts(labels, 2)
    unseen = np.empty((2, *soup.probabilities.shape))
    for half in (0, 1):
        for place, one in enumerate(chosen(halves != half)):
            unseen[place, halves == half] = one.probabilities[halves == half]
    return Judgement(
        soup,
        best,
        value(soup.probabilities, everything),
        value(best.probabilities, everything),
        value(unseen[0], everything),
        value(unseen[1], everything),
        metric,
    )


def ranked(metric: str, value: float) -> float:
    """A number that is smaller for a better score; infinite for NaN."""
    if np.isnan(value):
        return np.inf
    return value if metric in scores.LOWER_IS_BETTER else -value


def uniform(taste: Taste, ordered: Sequence[Candidate], cost: Callable[[Candidate], float]) -> Candidate:
    """The average of all; `ordered` are the single runs, the best first."""
    return min(taste(tuple(sorted(number for one in ordered for number in one.members))), key=cost)


def greedy(taste: Taste, ordered: Sequence[Candidate], cost: Callable[[Candidate], float]) -> Candidate:
    """Run after run, the best first, is kept where the average with it scores no worse (Wortsman et al. 2022)."""
    soup = ordered[0]
    for one in ordered[1:]:
        found = min(taste(tuple(sorted(soup.members + one.members))), key=cost)
        if cost(found) <= cost(soup):
            soup = found
    return soup
