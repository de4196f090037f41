"""Check Keras callbacks that have a state, and save and load this state, so that a stopped run continues exactly."""

from collections.abc import Sequence
from typing import Any

import keras

from kcomp.recipe import Stage
from kcomp.training.rates import schedules_of

# The attributes that these callbacks change at the end of an epoch.
STATE: dict[type, tuple[str, ...]] = {
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch"),
    keras.callbacks.ModelCheckpoint: ("best",),
}
SETS_RATE = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)


def check_callbacks(callbacks: Sequence[Any], stages: Sequence[Stage]) -> None:
    """Raise ValueError if a Keras callback contradicts a stage, or has a state that kcomp cannot save."""
    for callback in callbacks:
        name = type(callback).__name__
        if getattr(callback, "restore_best_weights", False):
            raise ValueError(
                f"the callback {name} must not restore the best weights, which a continued run would lose; "
                "kcomp keeps them itself: leave out restore_best_weights"
            )
        for stage in stages if isinstance(callback, SETS_RATE) else ():
            kinds = [type(each) for each in schedules_of(stage.optimizer) if not isinstance(each, keras.Variable)]
            if kinds:
                raise ValueError(
                    f"stage {stage.name!r}: the callback {name} sets a rate that follows {kinds[0].__name__}; use a "
                    "number as the rate, or schedules.Plateau in place of the callback"
                )


def callback_state(callbacks: Sequence[Any]) -> list[dict[str, float | None]]:
    """Return the values of each callback that has a state, by the name of the attribute."""
    return [{name: plain(getattr(callback, name, None)) for name in names} for callback, names in stateful(callbacks)]


def load_callback_state(callbacks: Sequence[Any], states: Sequence[dict[str, float | None]]) -> None:
    """Restore the states that `callback_state` returned. Call this after `on_train_begin`, which resets callbacks."""
    for (callback, _), values in zip(stateful(callbacks), states, strict=bool(states)):
        for name, value in values.items():
            setattr(callback, name, value)


def stateful(callbacks: Sequence[Any]) -> list[tuple[Any, tuple[str, ...]]]:
    """Return the callbacks that have a state, with the names of the attributes."""
    return [(callback, names) for callback in callbacks for kind, names in STATE.items() if isinstance(callback, kind)]


def plain(value: Any) -> float | None:
    """Return a number as an int or float, which JSON stores exactly."""
    return value if value is None or isinstance(value, int) else float(value)
