"""Weights of members, at least 0 and of sum 1, that fit a score on given rows; judge them on other rows."""

from collections.abc import Sequence

import numpy as np

from kcomp.ensemble.objectives import SMALLEST, Objective, improves, labelled_entries, objective

STEPS = (0.3, 0.1, 0.03)
PASSES = 5  # over all members, for each step
ROUNDS = 50  # of greedy selection
PATIENCE = 5


def searched(values: Sequence[np.ndarray], labels: np.ndarray, metric: str) -> np.ndarray:
    """Weights (members,) by constrained optimisation of `metric`.

    Log loss is convex in the weights: its optimum is found with its gradient. Accuracy, F1 and AUC have none: for them
    a local search shifts weight towards and away from one member at a time, from the log loss's optimum; it may stop
    at a local one.
    """
    start = log_loss_weights(values, labels)
    if metric == "log_loss":
        return start
    return local_search(objective(metric, values, labels), start)


def log_loss_weights(values: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """The weights of the smallest log loss, by sequential quadratic programming (SciPy's SLSQP)."""
    from scipy import optimize

    entries, shares = labelled_entries(values, labels)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(weights @ entries, SMALLEST)
        return float(-shares @ np.log(mixed)), -(entries @ (shares / mixed))

    even = np.full(len(values), 1 / len(values))
    found = optimize.minimize(
        loss,
        even,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(values),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"maxiter": 300, "ftol": 1e-12},
    )
    weights = np.where(found.x > 1e-6, found.x, 0)
    if not np.isfinite(weights).all() or not weights.any():
        return even
    weights /= weights.sum()
    return weights if loss(weights)[0] <= loss(even)[0] else even


def local_search(aim: Objective, weights: np.ndarray) -> np.ndarray:
    """Move weight towards or away from one member while that lowers the loss, with ever smaller steps."""
    mixed = weights @ aim.features
    best = aim.loss(mixed)
    for step in STEPS:
        for _ in range(PASSES):
            before = best
            for member in range(len(weights)):
                for share in (step, -min(step, weights[member])):
                    moved = shifted(weights, member, share)
                    if moved is None:
                        continue
                    trial = moved @ aim.features if share < 0 else (1 - share) * mixed + share * aim.features[member]
                    found = aim.loss(trial)
                    if improves(found, best):
                        best, weights, mixed = found, moved, trial
                        break
            if best == before:
                break
    return weights


def shifted(weights: np.ndarray, member: int, share: float) -> np.ndarray | None:
    """Give `share` of all weight to a member, or take that much (below 0) from it; the others keep their proportions.

    None where there is nothing to take, or nobody to take it from or give it to.
    """
    if share == 0 or weights[member] == 1:
        return None
    moved = weights * (1 - share if share > 0 else 1)
    moved[member] = moved[member] + share
    return moved / moved.sum()


def greedy(values: Sequence[np.ndarray], labels: np.ndarray, metric: str) -> np.ndarray:
    """Weights (members,) by forward selection with replacement (Caruana et al. 2004).

    It begins with the best so many members, sorted by their score, then adds the member that helps most, again and
    again; the weights are how often each was taken, at the best point on the way. At most 50 rounds, and 5 without a
    better point.
    """
    aim = objective(metric, values, labels)
    features = aim.features
    order = sorted(range(len(features)), key=lambda member: (aim.loss(features[member]), member))
    prefixes, total = [], np.zeros(features.shape[1])
    for count, member in enumerate(order, start=1):
        total += features[member]
        prefixes.append(aim.loss(total / count))
    taken = first_best(prefixes) + 1
    counts = np.bincount(order[:taken], minlength=len(order))
    best, kept, total = prefixes[taken - 1], counts.copy(), counts @ features
    waited = 0
    while waited < PATIENCE and counts.sum() < taken + ROUNDS:
        trials = [aim.loss((total + one) / (counts.sum() + 1)) for one in features]
        chosen = first_best(trials)
        counts[chosen] += 1
        total += features[chosen]
        waited += 1
        if improves(trials[chosen], best):
            best, kept, waited = trials[chosen], counts.copy(), 0
    return kept / kept.sum()


def first_best(losses: list[tuple[float, float]]) -> int:
    """The place of the lowest loss; the first where several are equal but for rounding."""
    best = 0
    for number, loss in enumerate(losses):
        if improves(loss, losses[best]):
            best = number
    return best
