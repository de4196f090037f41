"""Losses for the stages of a recipe, in addition to the default losses of the targets.

A loss compares labels with logits, the outputs of a network before softmax or sigmoid. In a recipe, the stage gives the
loss the target (the kind of labels). In a notebook, pass `target`.
"""

from kcomp.losses.arcface import ArcFace
from kcomp.losses.base import TargetLoss
from kcomp.losses.binary import BinaryCrossentropy
from kcomp.losses.distillation import Distillation
from kcomp.losses.focal import Asymmetric, Focal
from kcomp.losses.noise import GeneralizedCrossentropy
from kcomp.losses.numbers import Huber, Tweedie
from kcomp.losses.similarity import SimilaritySmoothing, class_similarity

__all__ = [
    "ArcFace",
    "Asymmetric",
    "BinaryCrossentropy",
    "Distillation",
    "Focal",
    "GeneralizedCrossentropy",
    "Huber",
    "SimilaritySmoothing",
    "TargetLoss",
    "Tweedie",
    "class_similarity",
]
