"""The stages of a new recipe as numbers."""

from dataclasses import dataclass

FEW = 500  # with fewer images, a recipe trains longer or fewer layers
HEAD_RATE = 1e-3  # of the head while it is trained alone


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """Two stages: the head is trained alone, then together with further layers.

    Attributes:
        head_epochs: Epochs of the first stage.
        name: Name of the second stage.
        train: The layers of the second stage; see `recipe.Stage`.
        epochs: Epochs of the second stage.
        rate: The highest learning rate of the second stage.
        cache_views: How many augmented copies of each image are cached. None for new copies in each epoch.
    """

    head_epochs: int
    name: str
    train: str
    epochs: int
    rate: float
    cache_views: int | None = None


def default_stages(rows: int, *, is_lite: bool) -> StagePlan:
    """Return the stages that fit the number of labelled images, if nothing else is known.

    `is_lite` says whether the network is an EfficientNet-Lite, whose layers have known names.
    """
    if rows < FEW and is_lite:
        return few_and_similar("head|top.*|block[67].*")
    rate = 1e-4 if rows < FEW else 1e-3
    return StagePlan(head_epochs=2, name="all", train="all", epochs=epochs_for(rows), rate=rate)


def few_and_similar(train: str) -> StagePlan:
    """Return stages for few images that pretrained features fit: a long one of the head, and a slow one of `train`."""
    return StagePlan(head_epochs=12, name="upper blocks", train=train, epochs=4, rate=3e-5, cache_views=4)


def not_measured(error: Exception) -> str:
    """Return a sentence that says why there are no measured stages."""
    return f"How much to train was not measured: {' '.join(str(error).split())}"


def epochs_for(rows: int) -> int:
    """Return how many epochs give about 12,000 training images in total, but at least 4 and at most 10."""
    return max(4, min(10, round(12_000 / rows)))
