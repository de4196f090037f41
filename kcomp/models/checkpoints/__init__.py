"""Build Keras networks from timm's checkpoints, and check that they compute what timm computes."""

from kcomp.models.checkpoints.backbone import timm
from kcomp.models.checkpoints.preprocessing import timm_preprocessing

__all__ = ["timm", "timm_preprocessing"]
