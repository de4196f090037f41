"""Build pretrained backbones and classifiers. This package also works without a recipe, as in a notebook."""

from kcomp.models.arcface import ArcFaceHead
from kcomp.models.backbones import application, efficientnet_lite0, efficientnet_lite1, efficientnet_lite2
from kcomp.models.checkpoints import timm, timm_preprocessing
from kcomp.models.classifier import classifier
from kcomp.models.presets import hub, hub_preprocessing
from kcomp.models.trainable import set_trainable

__all__ = [
    "ArcFaceHead",
    "application",
    "classifier",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "hub",
    "hub_preprocessing",
    "set_trainable",
    "timm",
    "timm_preprocessing",
]
