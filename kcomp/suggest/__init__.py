"""Suggest how much of a pretrained network to train."""

from typing import TYPE_CHECKING

from kcomp.system.lazy import lazy_names

if TYPE_CHECKING:
    from kcomp.suggest.suggestion import StageSuggestion, stages

__all__ = ["StageSuggestion", "stages"]

MODULES = {"StageSuggestion": "kcomp.suggest.suggestion", "stages": "kcomp.suggest.suggestion"}

__getattr__, __dir__ = lazy_names(__name__, MODULES)
