"""Build backbones from the presets of keras-hub."""

from kcomp.models.presets.backbone import hub
from kcomp.models.presets.preprocessing import hub_preprocessing

__all__ = ["hub", "hub_preprocessing"]
