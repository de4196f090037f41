"""Check Keras callbacks that have a state, and save and load this state, so that a stopped run continues exactly."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kcomp.recipe import Stage
from kcomp.training.rates import schedules_of

# The attributes that these callbacks change during a training.
STATE: dict[type, tuple[str, ...]] = {
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch"),
    keras.callbacks.ModelCheckpoint: ("best", "_batches_seen_since_last_saving", "_last_batch_seen"),
}
SETS_RATE = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)
INSTEAD: dict[type, str] = {
    keras.callbacks.BackupAndRestore: "kcomp saves and restores the training itself: leave it out",
    keras.callbacks.CSVLogger: "log.csv in the run folder has these values: leave it out",
    keras.callbacks.SwapEMAWeights: "kcomp would save weights that it did not score; use Stage(average=EMA(...))",
}
PLAIN = (bool, int, float, str, type(None))
FRAMEWORK = ("_model", "params", "validation_data", "monitor_op", "min_delta")  # set by Keras when a training starts


def check_callbacks(callbacks: Sequence[Any], stages: Sequence[Stage]) -> None:
    """Raise ValueError if a Keras callback contradicts a stage, or has a state that kcomp cannot save."""
    for callback in callbacks:
        name = type(callback).__name__
        for kind, reason in INSTEAD.items():
            if isinstance(callback, kind):
                raise ValueError(f"the callback {name} cannot be used: {reason}")
        if getattr(callback, "restore_best_weights", False):
            raise ValueError(
                f"the callback {name} must not restore the best weights, which a continued run would lose; "
                "kcomp keeps them itself: leave out restore_best_weights"
            )
        if callable(getattr(callback, "get_state", None)) != callable(getattr(callback, "set_state", None)):
            raise ValueError(f"the callback {name} needs both methods get_state() and set_state(state), or neither")
        for stage in stages if isinstance(callback, SETS_RATE) else ():
            kinds = [type(each) for each in schedules_of(stage.optimizer) if not isinstance(each, keras.Variable)]
            if kinds:
                raise ValueError(
                    f"stage {stage.name!r}: the callback {name} sets a rate that follows {kinds[0].__name__}; use a "
                    "number as the rate, or schedules.Plateau in place of the callback"
                )


class CallbackStates:
    """The states of a recipe's callbacks.

    kcomp saves the counters of the Keras callbacks in `STATE`. For a class of the recipe, it saves what the method
    `get_state` returns, and passes it to `set_state` when the run continues. A class without these methods whose
    attributes change is named in a line, because its attributes are not saved.

    Args:
        callbacks: The callbacks.
        say: Function that prints a line.
    """

    def __init__(self, callbacks: Sequence[Any], say: Callable[[str], None]) -> None:
        self.callbacks, self.say = callbacks, say
        self.first: list[dict[str, Any]] | None = None

    def load(self, states: Sequence[dict[str, Any]]) -> None:
        """Restore the states that `values` returned. Call this after `on_train_begin`, which resets callbacks."""
        for callback, state in zip(self.callbacks, states, strict=bool(states)):
            for name, value in state.get("attributes", {}).items():
                setattr(callback, name, value)
            if "state" in state:
                callback.set_state(state["state"])
        if self.first is None:
            self.first = [describe_attributes(callback) for callback in self.callbacks]

    def values(self) -> list[dict[str, Any]]:
        """Return the state of each callback, which is empty for a callback without a state.

        Raises:
            TypeError: If a method `get_state` returns something that JSON cannot store.
        """
        states: list[dict[str, Any]] = []
        for callback in self.callbacks:
            names = saved_attributes(callback)
            state: dict[str, Any] = {"attributes": {name: plain(getattr(callback, name, None)) for name in names}}
            if hasattr(callback, "get_state"):
                state["state"] = expect_json(callback, callback.get_state())
            states.append(state if names or "state" in state else {})
        self.warn()
        return states

    def warn(self) -> None:
        """Print a line, once, if attributes of a callback have changed that are not saved."""
        for callback, before in zip(self.callbacks, self.first or (), strict=False):
            now = describe_attributes(callback)
            changed = [name for name in now if before.get(name) != now[name]]
            if changed:
                self.say(
                    f"the callback {type(callback).__name__} changes {changed[0]!r}, which a continued run would lose; "
                    "to save it, give the class methods get_state() and set_state(state)"
                )
        self.first = []


def saved_attributes(callback: Any) -> list[str]:
    return [name for kind, names in STATE.items() if isinstance(callback, kind) for name in names]


def describe_attributes(callback: Any) -> dict[str, Any]:
    """Return a description of each attribute that kcomp does not save: a plain value, or the type and length.

    It is empty for Keras's own callbacks, and for callbacks that restore themselves: those with a method `get_state`,
    or with `set_run`, which receives the whole log.
    """
    if type(callback).__module__.startswith("keras.") or hasattr(callback, "get_state") or hasattr(callback, "set_run"):
        return {}
    saved = {*saved_attributes(callback), *FRAMEWORK}
    return {name: described(value) for name, value in vars(callback).items() if name not in saved}


def described(value: Any) -> Any:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value.tobytes()
    return type(value).__name__, len(value) if isinstance(value, list | tuple | dict | set) else 0


def expect_json(callback: Any, state: Any) -> Any:
    try:
        json.dumps(state)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"get_state() of the callback {type(callback).__name__} must return numbers, texts, None, lists and dicts; "
            f"{error}"
        ) from error
    return state


def plain(value: Any) -> float | None:
    """Return a number as an int or float, which JSON stores exactly."""
    return value if value is None or isinstance(value, int) else float(value)
