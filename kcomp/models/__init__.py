"""Backbones with their weights, and the classifier on top; works alone in a notebook."""

from kcomp.models.backbones import application, efficientnet_lite0, efficientnet_lite1, efficientnet_lite2
from kcomp.models.classifier import classifier, set_trainable

__all__ = [
    "application",
    "classifier",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "set_trainable",
]
