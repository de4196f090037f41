"""Build Keras networks from timm's checkpoints, and check that they compute what timm computes."""

from kcomp.models.checkpoints.backbone import timm

__all__ = ["timm"]
