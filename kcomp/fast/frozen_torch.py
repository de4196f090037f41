"""Training on PyTorch with frozen layers: those below all that learns are folded as for prediction."""

import weakref
from typing import Any

import keras
import torch
from keras.src.backend import AutocastScope
from keras.src.backend.common.stateless_scope import in_stateless_scope

from kcomp.fast.excitation import Excitation
from kcomp.fast.folding_torch import Excited, Folded
from kcomp.fast.inference_torch import again, folded
from kcomp.fast.layers import value_of
from kcomp.fast.loops_torch import transformed
from kcomp.fast.pairs import Pair
from kcomp.fast.straight import Plan, plan_of, run_straight

_known: "weakref.WeakKeyDictionary[Any, FrozenFolded]" = weakref.WeakKeyDictionary()


def run_frozen_folded(model: Any, inputs: Any, training: bool | None = None, mask: Any = None, **others: Any) -> Any:
    """What a functional model's `call` returns, or None where only Keras's own will do."""
    scoped = in_stateless_scope()  # there the weights are others
    plain = not training or getattr(inputs, "requires_grad", False) or transformed() or scoped
    return run_straight(plan_of if plain else frozen_folded, model, inputs, training, mask, **others)


class FrozenFolded:
    """A plan whose frozen steps are folded, with what tells whether that is still so.

    Weights are followed that are assigned, loaded or changed in place, not tensors put in their place (`.data`, LoRA).
    """

    def __init__(self, plan: Plan) -> None:
        frozen = frozen_steps(plan)
        layers = [layer for step in plan.steps for layer in all_layers(step.operation)]
        self.normalisations = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        self.tensors = [tensor for step in plan.steps for tensor in tensors_of(step.operation)]
        self.learned = self.learns()
        with torch.no_grad():
            self.plan = folded(plan, lambda step: id(step) in frozen)
        taken = [step.operation for step in self.plan.steps if isinstance(step.operation, Folded | Excited)]
        self.kept = [tensor for one in taken for layer in one.layers for tensor in tensors_of(layer)]
        self.versions = self.changes()

    def learns(self) -> list[bool]:
        return [tensor.requires_grad for tensor in self.tensors] + [one.trainable for one in self.normalisations]

    def changes(self) -> list[int]:
        return [tensor._version for tensor in self.kept]  # PyTorch counts updates

    def follow(self) -> None:
        """Fold again where weights were assigned or loaded since."""
        if self.versions != (versions := self.changes()):
            with torch.no_grad():
                again(self.plan)
            self.versions = versions


def frozen_folded(model: Any) -> Plan | None:
    """The plan of a model for training with the weights, and what of them learns, as they are now; None where it has
    no plan."""
    known = _known.get(model)
    if known is None or known.learned != known.learns():
        plan = plan_of(model)
        if plan is None:
            return None
        with AutocastScope(None):  # else the weights' values are cast copies, which do not follow them
            known = _known[model] = FrozenFolded(plan)
    known.follow()
    return known.plan


def frozen_steps(plan: Plan) -> set[int]:
    """The steps, by `id`, that give in training what they give in inference, with no layer that learns below them. What
    no layer knows of (a variable that a Lambda takes from outside) is seen when they are called."""
    still, found = {plan.source}, set()
    for step in plan.steps:
        if not still.issuperset(step.reads) or any(tensor.requires_grad for tensor in tensors_of(step.operation)):
            continue
        still |= set(step.outputs)
        if not any(changes_in_training(layer) for layer in all_layers(step.operation)):
            found.add(id(step))
    return found


def changes_in_training(layer: Any) -> bool:
    """Whether a layer among those that are folded does something else in training, or may."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.trainable)
    return isinstance(layer, keras.layers.Dropout)


def tensors_of(operation: Any) -> list[Any]:
    """The tensors of a step's weights."""
    return [value_of(weight) for layer in all_layers(operation) for weight in getattr(layer, "variables", ())]


def all_layers(operation: Any) -> list[Any]:
    """The layers that a step stands for."""
    if isinstance(operation, Excitation):
        return [*operation.activated.layers, *operation.gate, operation.merge]
    return list(operation.layers) if isinstance(operation, Pair) else [operation]
