"""Where kcomp keeps what it can make again: converted weights, compiled programs, decoded images, features."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """$KCOMP_CACHE, or kcomp's folder in the user's cache; it need not exist yet, and may be deleted between runs."""
    return Path(os.environ.get("KCOMP_CACHE") or platformdirs.user_cache_dir("kcomp"))
