"""Check the stages of a recipe (the parts of a training) before the training starts."""

from collections.abc import Sequence

import keras

from kcomp.averaging import Snapshots
from kcomp.data.batches import Batches
from kcomp.recipe import Stage
from kcomp.schedules import CosineRestarts, Plateau
from kcomp.training.rates import schedules_of


def check_stage(stage: Stage) -> None:
    """Raise ValueError unless a stage has a Keras optimizer, and a loss that compares labels with logits."""
    if not isinstance(stage.optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            f"stage {stage.name!r}: the optimizer must be one of Keras's, such as keras.optimizers.AdamW(1e-3); "
            f"received {stage.optimizer!r}"
        )
    if keras.backend.backend() == "torch" and any(
        type(part) is keras.optimizers.ScheduleFreeAdamW
        for part in getattr(stage.optimizer, "optimizers", [stage.optimizer])
    ):
        raise ValueError(
            f"stage {stage.name!r}: keras.optimizers.ScheduleFreeAdamW computes wrong weights on PyTorch; "
            "use kcomp.optimizers.ScheduleFreeAdamW"
        )
    for schedule in schedules_of(stage.optimizer):
        if isinstance(schedule, Plateau) and stage.patience is not None and stage.patience <= schedule.patience:
            raise ValueError(
                f"stage {stage.name!r} ends before its rate falls: the stage's patience of {stage.patience} epochs "
                f"must be above that of Plateau, {schedule.patience}"
            )
    config = stage.loss.get_config() if isinstance(stage.loss, keras.losses.Loss) else {"from_logits": False}
    if config.get("from_logits") is False or isinstance(stage.loss, keras.losses.SparseCategoricalCrossentropy):
        raise ValueError(
            f"stage {stage.name!r}: the loss must take labels and logits: leave it out, or use one such as "
            f"keras.losses.CategoricalCrossentropy(from_logits=True); received {type(stage.loss).__name__}"
        )


def check_batches(stage: Stage, training: Batches) -> None:
    """Raise ValueError if the class weights or the image size of a stage contradict the recipe's batches."""
    if stage.class_weights is not None and training.sampling is not None:
        raise ValueError(
            f"stage {stage.name!r}: class_weights and sampling={training.sampling!r} of the batches both weight the "
            "rows; leave out one"
        )
    if stage.image_size is not None:
        try:
            training.resized(stage.image_size)
        except ValueError as error:
            raise ValueError(f"stage {stage.name!r}: image_size: {error}") from error


def check_average(stage: Stage, stages: Sequence[Stage], keep: str) -> None:
    """Raise ValueError if the weight averaging of a stage contradicts other settings of the recipe.

    Args:
        stage: The stage to check. Its `average` is an object of kcomp.averaging, or None.
        stages: All stages of the recipe, in training order.
        keep: The epoch whose weights the recipe keeps: "best" or "last".
    """
    if stage.average is None:
        return
    name = type(stage.average).__name__
    if stage is not stages[-1]:
        raise ValueError(f"stage {stage.name!r}: only the last stage may have an average; received {name}")
    if any(getattr(part, "use_ema", False) for part in getattr(stage.optimizer, "optimizers", [stage.optimizer])):
        raise ValueError(f"stage {stage.name!r}: {name} and the optimizer's use_ema are two averages; leave out one")
    if not isinstance(stage.average, Snapshots):
        return
    if keep != "last" or stage.patience is not None:
        raise ValueError(
            f"stage {stage.name!r}: with Snapshots no epoch is chosen by its score; the recipe must have keep='last' "
            f"and the stage no patience; received keep={keep!r}, patience={stage.patience}"
        )
    cycles = stage.epochs // cycle_epochs(stage)
    if (stage.average.last or 1) > cycles:
        raise ValueError(
            f"stage {stage.name!r}: Snapshots(last={stage.average.last}) takes more snapshots than {cycles} cycles make"
        )


def cycle_epochs(stage: Stage) -> int:
    """Return how many epochs a cycle of the learning rate lasts in a stage.

    Raises:
        ValueError: If a learning rate does not follow the schedule CosineRestarts, or its cycles do not fit the stage.
    """
    all_schedules = schedules_of(stage.optimizer)
    cosines = [schedule for schedule in all_schedules if isinstance(schedule, CosineRestarts)]
    if len(cosines) < len(all_schedules):
        others = sorted({type(schedule).__name__ for schedule in all_schedules} - {CosineRestarts.__name__})
        raise ValueError(
            f"stage {stage.name!r}: Snapshots need schedules.CosineRestarts(peak, epochs, cycles) as the "
            f"optimizer's rate; received {', '.join(others)}"
        )
    allowed = [count for count in range(1, stage.epochs + 1) if stage.epochs % count == 0]
    for schedule in cosines:
        if schedule.epochs != stage.epochs or schedule.cycles not in allowed:
            raise ValueError(
                f"stage {stage.name!r}: with Snapshots, CosineRestarts lasts the stage's {stage.epochs} epochs in "
                f"cycles of whole epochs: {allowed}; received {schedule.epochs} epochs in {schedule.cycles} cycles"
            )
    counts = {schedule.cycles for schedule in cosines}
    if len(counts) > 1:
        raise ValueError(f"stage {stage.name!r}: the optimizers' cycles must be alike; received {sorted(counts)}")
    return stage.epochs // counts.pop()
