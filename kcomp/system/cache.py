"""The folder in which kcomp caches converted weights, compiled programs, decoded images and features."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the folder for cached files: $KCOMP_CACHE, or kcomp's folder in the user's cache folder."""
    return Path(os.environ.get("KCOMP_CACHE") or platformdirs.user_cache_dir("kcomp"))
