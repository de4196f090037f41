"""The cache of results that kcomp can compute again: converted weights, compiled programs, decoded images, features."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return $KCOMP_CACHE, or kcomp's folder in the user's cache. It may be missing, or deleted between runs."""
    return Path(os.environ.get("KCOMP_CACHE") or platformdirs.user_cache_dir("kcomp"))
