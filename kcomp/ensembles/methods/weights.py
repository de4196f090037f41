"""Fit the weights of an ensemble's members to a metric. Weights are at least 0 and sum to 1."""

from collections.abc import Sequence

import numpy as np

from kcomp.ensembles.methods.objectives import (
    Objective,
    has_probabilities,
    improves,
    labelled_entries,
    objective,
)
from kcomp.metrics import log_loss
from kcomp.metrics.scores import Scorer
from kcomp.targets.arrays import SMALLEST

STEPS = (0.3, 0.1, 0.03)  # how much of the total weight the local search moves at once, first large, then small
PASSES = 5  # for each step, the local search passes over all members at most this many times
ROUNDS = 50  # greedy selection ends after this many rounds
PATIENCE = 5  # or after this many rounds without improvement


def searched(values: Sequence[np.ndarray], labels: np.ndarray, scorer: Scorer) -> np.ndarray:
    """Return the weights (members,) for which the weighted mean of predictions has the best score.

    For metrics other than the log loss, the weights may be a local optimum.
    """
    if not has_probabilities(scorer):
        return local_search(objective(scorer, values, labels), np.full(len(values), 1 / len(values)))
    start = log_loss_weights(values, labels, scorer)
    if scorer.metric == log_loss:
        return start
    return local_search(objective(scorer, values, labels), start)


def log_loss_weights(values: Sequence[np.ndarray], labels: np.ndarray, scorer: Scorer) -> np.ndarray:
    from scipy import optimize

    entries, shares = labelled_entries(values, labels, scorer)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(weights @ entries, SMALLEST)
        return float(-shares @ np.log(mixed)), -(entries @ (shares / mixed))

    even = np.full(len(values), 1 / len(values))
    solution = optimize.minimize(
        loss,
        even,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(values),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"maxiter": 300, "ftol": 1e-12},
    )
    weights = np.where(solution.x > 1e-6, solution.x, 0)
    if not np.isfinite(weights).all() or not weights.any():
        return even
    weights /= weights.sum()
    return weights if loss(weights)[0] <= loss(even)[0] else even


def local_search(objective: Objective, weights: np.ndarray) -> np.ndarray:
    """Change one member's weight at a time as long as this lowers the loss. Return the new weights (members,)."""
    mixed = weights @ objective.features
    best = objective.loss(mixed)
    for step in STEPS:
        for _ in range(PASSES):
            before = best
            for member in range(len(weights)):
                for share in (step, -min(step, weights[member])):
                    moved = shifted(weights, member, share)
                    if moved is None:
                        continue
                    features = objective.features
                    trial = moved @ features if share < 0 else (1 - share) * mixed + share * features[member]
                    loss = objective.loss(trial)
                    if improves(loss, best):
                        best, weights, mixed = loss, moved, trial
                        break
            if best == before:
                break
    return weights


def shifted(weights: np.ndarray, member: int, share: float) -> np.ndarray | None:
    """Return weights in which one member's weight is raised, or lowered if `share` is negative. They sum to 1.

    The ratios of the other weights stay the same. Return None if no weight would change.
    """
    if share == 0 or weights[member] == 1:
        return None
    moved = weights * (1 - share if share > 0 else 1)
    moved[member] = moved[member] + share
    return moved / moved.sum()


def greedy(values: Sequence[np.ndarray], labels: np.ndarray, scorer: Scorer) -> np.ndarray:
    """Return the weights (members,) of forward selection with replacement (Caruana et al. 2004).

    The selection starts with the best members: as many as give the lowest loss together. Each round adds one more copy
    of the member that gives the lowest loss. A member's weight is its share of all copies at the best round.
    """
    goal = objective(scorer, values, labels)
    features = goal.features
    order = sorted(range(len(features)), key=lambda member: (goal.loss(features[member]), member))
    prefixes, total = [], np.zeros(features.shape[1])
    for count, member in enumerate(order, start=1):
        total += features[member]
        prefixes.append(goal.loss(total / count))
    start_size = first_best(prefixes) + 1
    counts = np.bincount(order[:start_size], minlength=len(order))
    best, best_counts, total = prefixes[start_size - 1], counts.copy(), counts @ features
    waited = 0
    while waited < PATIENCE and counts.sum() < start_size + ROUNDS:
        trials = [goal.loss((total + member) / (counts.sum() + 1)) for member in features]
        chosen = first_best(trials)
        counts[chosen] += 1
        total += features[chosen]
        waited += 1
        if improves(trials[chosen], best):
            best, best_counts, waited = trials[chosen], counts.copy(), 0
    return best_counts / best_counts.sum()


def first_best(losses: list[tuple[float, float]]) -> int:
    """Return the position of the lowest loss. If several losses differ only by rounding, return the first of them."""
    best = 0
    for number, loss in enumerate(losses):
        if improves(loss, losses[best]):
            best = number
    return best
