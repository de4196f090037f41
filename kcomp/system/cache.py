"""The folder of kcomp's cache: converted weights, compiled programs, decoded images, features.

kcomp computes all of them again if they are missing.
"""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return $KCOMP_CACHE, or kcomp's folder in the user's cache. The folder may not exist."""
    return Path(os.environ.get("KCOMP_CACHE") or platformdirs.user_cache_dir("kcomp"))
