"""Suggest the extra of kcomp (optional packages, such as kcomp[lite]) that installs a missing package."""

EXTRAS = {"keras_cv": "keras-cv", "tensorflow": "keras-cv", "tensorflow_datasets": "tfds", "array_record": "tfds"}


def extra_for(error: BaseException | None) -> str:
    """Return the end of the message of a failed import, such as "; run: pip install 'kcomp[tfds]'", or ""."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:  # KerasCV wraps TensorFlow's import error
        extra = EXTRAS.get((getattr(error, "name", None) or "").partition(".")[0])
        if isinstance(error, ImportError) and extra:
            return f"; run: pip install 'kcomp[{extra}]'"
        visited.add(id(error))
        error = error.__cause__ or error.__context__
    return ""
