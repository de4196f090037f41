"""Suggest how much of a pretrained network to train, from the amount of data and its similarity to ImageNet."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from kcomp import schedules
from kcomp.data.batches import Batches
from kcomp.data.tables import Table
from kcomp.new.stages import HEAD_RATE, StagePlan
from kcomp.probe.features import fill_cache
from kcomp.probe.frozen_network import BATCH, FrozenNetwork
from kcomp.recipe import Stage
from kcomp.suggest.groups import BlockGroup, divide
from kcomp.suggest.patterns import pattern_of
from kcomp.suggest.rule import DataSize, GroupScore, Similarity, explain, plan_stages
from kcomp.suggest.scores import advantage, score_features
from kcomp.targets import Target

FEWEST = 10  # rows with an image and a label, so that a probe can be cross-validated


@dataclass(frozen=True)
class StageSuggestion:
    """How much of a pretrained network to train, with the reasons. `stages` returns it.

    Args:
        plan: The two stages as numbers.
        reasons: Short sentences with the measured numbers.
        size: How much labelled data there is.
        similarity: How well the features of the network fit the data.

    Examples:
        >>> import keras
        >>> from kcomp import data, suggest
        >>> images = keras.Input((8, 8, 3))
        >>> backbone = keras.Model(images, keras.layers.Conv2D(16, 3, activation="relu")(images))
        >>> suggestion = suggest.stages(data.sklearn_digits(), backbone, most=50)
        >>> isinstance(suggestion, suggest.StageSuggestion), suggestion.plan.head_epochs
        (True, 2)
    """

    plan: StagePlan
    reasons: tuple[str, ...]
    size: DataSize
    similarity: Similarity

    @property
    def stages(self) -> list[Stage]:
        """New stages with new optimizers: the head alone, then the upper blocks or all layers too."""
        return stages_of(self.plan)


def stages_of(plan: StagePlan) -> list[Stage]:
    """Return new stages with new optimizers."""
    rate = schedules.WarmupCosine(plan.rate, plan.epochs, warmup=min(1, plan.epochs / 4))
    fine, head = keras.optimizers.AdamW(rate, weight_decay=0.02), keras.optimizers.AdamW(HEAD_RATE)
    return [
        Stage("head", plan.head_epochs, "head.*", head, cache_views=plan.cache_views),
        Stage(plan.name, plan.epochs, plan.train, fine, cache_views=plan.cache_views),
    ]


def stages(
    table: Table,
    backbone: keras.Model,
    target: Target | None = None,
    *,
    most: int = 2000,
    progress: Callable[[int, int], None] = lambda finished, total: None,
) -> StageSuggestion:
    """Suggest the stages of a recipe: how many layers of a pretrained network to train, how long, and at which rate.

    The network predicts the labels from features of its frozen layers, at the end of each group of blocks. Linear
    probes on these features are cross-validated. If the last features predict badly, or worse than earlier ones, the
    data is unlike ImageNet, and more blocks are trained. With little data, fewer blocks are trained, at a lower rate.
    The features are cached on disk.

    Args:
        table: The labelled rows.
        backbone: A pretrained network without its head, for images in 0..255.
        target: The target of the labels. None for the target of the table.
        most: How many rows are measured at most, at random, from 10.
        progress: Function. progress(finished, total) is called with the number of finished images and of all images.

    Returns:
        The stages, and the reasons in words.

    Raises:
        ValueError: If the table has no labels, or fewer than 10 rows have an image that can be read.

    References:
        Yosinski et al. 2014, How transferable are features in deep neural networks? Kornblith et al. 2019, Do better
        ImageNet models transfer better?

    Examples:
        >>> import keras
        >>> from kcomp import data, suggest
        >>> rows = data.sklearn_digits()
        >>> images = keras.Input((8, 8, 3))
        >>> backbone = keras.Model(images, keras.layers.Conv2D(16, 3, activation="relu")(images))
        >>> suggestion = suggest.stages(rows, backbone, most=50)  # usually models.efficientnet_lite0(size) or the like
        >>> suggestion.stages[0].name
        'head'
        >>> suggestion.reasons[0]
        'Much data: 1,797 labelled rows, 174 of the rarest class (8).'
    """
    if target is not None:
        table = dataclasses.replace(table, target=target)
    if table.target is None:
        raise ValueError("a suggestion needs labels; the table has no target")
    if most < FEWEST:
        raise ValueError(f"most must be at least {FEWEST}; received {most}")
    chosen = np.sort(np.random.default_rng(0).permutation(len(table))[:most])
    groups = divide(backbone)
    features, readable = compute_features(groups, backbone, table.rows(chosen), progress)
    if len(readable) < FEWEST:
        raise ValueError(f"a suggestion needs at least {FEWEST} images that can be read; {len(readable)} can")
    size = measure_size(table)
    similarity = compare_groups(groups, features, table.rows(chosen[readable]))
    patterns = [pattern_of(groups, upper) for upper in range(1, len(groups) + 1)]
    plan = plan_stages(size, similarity, patterns)
    return StageSuggestion(plan, explain(size, similarity, plan), size, similarity)


def compute_features(
    groups: Sequence[BlockGroup], backbone: keras.Model, table: Table, progress: Callable[[int, int], None]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the features of each group, float32 (readable rows, channels), and the positions of the readable rows."""
    widths = [int(group.features.shape[-1]) for group in groups]
    joined = [group.features for group in groups]
    everything = keras.ops.concatenate(joined, 1) if len(joined) > 1 else joined[0]
    size = tuple(backbone.input_shape[1:3])
    network = FrozenNetwork(
        keras.Model(backbone.input, everything, name=backbone.name),
        keras.Model(backbone.input, joined[-1], name=backbone.name),
        lambda rows: Batches(rows, size, batch_size=BATCH),
        "",
        "",
        True,
    )
    cache = fill_cache(network, table, lambda finished: progress(finished, len(table)))
    rows = [cache.read(index) for index in range(len(cache.readable))]
    values = np.stack(rows) if rows else np.zeros((0, sum(widths)), np.float32)
    return np.split(values, np.cumsum(widths)[:-1], 1), cache.readable


def measure_size(table: Table) -> DataSize:
    target, labels = table.required_target, table.labels.astype(np.float64)
    names = target.class_names
    if not names:
        return DataSize(len(table))
    counts = target.class_counts(labels)
    rarest = int(np.argmin(counts))
    return DataSize(len(table), len(names), names[rarest], round(float(counts[rarest])))


def compare_groups(groups: Sequence[BlockGroup], features: Sequence[np.ndarray], table: Table) -> Similarity:
    """Score the features of each group by a probe, and compare the best earlier group with the last."""
    probes = [score_features(values, table) for values in features]
    scores = tuple(
        GroupScore(group.end, group.weights, probe.skill) for group, probe in zip(groups, probes, strict=True)
    )
    if len(probes) == 1:
        return Similarity(scores, 0.0, 0.0)
    gain, error = advantage(max(probes[:-1], key=lambda probe: probe.skill), probes[-1])
    return Similarity(scores, gain, error)
