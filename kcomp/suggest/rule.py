"""The textbook's table: how much to train, by the amount of data and by its similarity to ImageNet."""

from collections.abc import Sequence
from dataclasses import dataclass

from kcomp.new.stages import FEW, StagePlan, epochs_for, few_and_similar
from kcomp.report.text import quantity

FEW_OF_A_CLASS = 20  # with fewer rows a class, data counts as little
LEAST_SKILL = 0.5  # of the last group's features, for data that is similar to ImageNet
CERTAIN = 1.0  # standard errors by which the last features must be better, for data that is similar to ImageNet
RATES = {"few": 3e-4, "many": 1e-3}  # for data that is unlike ImageNet
SIMILAR_RATE = 1e-4  # for much data that is similar to ImageNet


@dataclass(frozen=True)
class DataSize:
    """How much labelled data there is.

    Attributes:
        rows: Number of labelled rows.
        classes: Number of classes. 0 for numbers.
        rarest: Name of the class with the fewest rows. Empty for numbers.
        rarest_rows: How many rows it has. Soft labels count as fractions, and the sum is rounded.
    """

    rows: int
    classes: int = 0
    rarest: str = ""
    rarest_rows: int = 0

    @property
    def is_little(self) -> bool:
        return self.rows < max(FEW, FEW_OF_A_CLASS * self.classes)


@dataclass(frozen=True)
class GroupScore:
    """A group of blocks of a backbone, with the score of a probe on its features.

    Attributes:
        end: The name of the layer that computes the features.
        weights: How many weights of the group a stage can train.
        skill: 1 - the loss of the probe divided by the loss of a constant prediction. 0 is chance, and 1 perfect.
    """

    end: str
    weights: int
    skill: float


@dataclass(frozen=True)
class Similarity:
    """How well features of ImageNet fit the data.

    Attributes:
        scores: The score of each group of blocks, the first layers first.
        gain: By how much the skill of the best earlier group is higher than that of the last. Negative if it is lower.
        error: The standard error of `gain` over rows.
    """

    scores: tuple[GroupScore, ...]
    gain: float
    error: float

    @property
    def is_similar(self) -> bool:
        """Whether the last features predict well, and better than all earlier ones."""
        last_is_best = len(self.scores) == 1 or self.gain < -CERTAIN * self.error
        return self.scores[-1].skill >= LEAST_SKILL and last_is_best


def upper_groups(size: DataSize, similarity: Similarity) -> int:
    """Return how many of the last groups of blocks the second stage trains."""
    count = len(similarity.scores)
    if similarity.is_similar:
        return 1 if size.is_little else min(2, count)
    if not size.is_little:
        return count
    best = max(range(count), key=lambda number: similarity.scores[number].skill)
    return min(max(2, count - 1 - best), count)


def plan_stages(size: DataSize, similarity: Similarity, patterns: Sequence[str]) -> StagePlan:
    """Return the stages. `patterns` has a value for `Stage.train` for each number of upper groups, from 1."""
    upper = upper_groups(size, similarity)
    train = patterns[upper - 1]
    name = "all" if train == "all" else "upper blocks"
    if similarity.is_similar:
        if size.is_little:
            return few_and_similar(train)
        rate = SIMILAR_RATE
    else:
        rate = RATES["few" if size.is_little else "many"]
    return StagePlan(head_epochs=2, name=name, train=train, epochs=epochs_for(size.rows), rate=rate)


def explain(size: DataSize, similarity: Similarity, plan: StagePlan) -> tuple[str, ...]:
    """Return short sentences with the measured numbers that lead to a plan."""
    scores, layers = similarity.scores, "all layers" if plan.train == "all" else "the upper blocks"
    upper = len(scores) if plan.train == "all" else upper_groups(size, similarity)
    trained = sum(score.weights for score in scores[len(scores) - upper :])
    return (
        f"{'Little' if size.is_little else 'Much'} data: {quantity(size.rows, 'labelled row')}"
        + (f", {size.rarest_rows} of the rarest class ({size.rarest})." if size.rarest else "."),
        f"A probe on the last features explains {points(scores[-1].skill)} % of the loss of a constant prediction.",
        *compare(similarity),
        f"So the data is {'similar to' if similarity.is_similar else 'unlike'} ImageNet: train the head, then {layers} "
        f"too ({trained / 1e6:.1f} million weights), at a rate of {plan.rate:.0e}.".replace("e-0", "e-"),
    )


def compare(similarity: Similarity) -> list[str]:
    """Return a sentence about the features of earlier groups, in a list. Empty if there is only one group."""
    best = max(similarity.scores[:-1], key=lambda score: score.skill, default=None)
    if best is None:
        return []
    change = f"{points(abs(similarity.gain))} points {'more' if similarity.gain > 0 else 'less'}"
    error = f"with a standard error of {points(similarity.error)}"
    return [f"The best earlier features ({best.end}) explain {points(best.skill)} %: {change}, {error}."]


def points(skill: float) -> str:
    return f"{100 * skill:.0f}"
