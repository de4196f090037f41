"""Read manifest.json and result.json of a run, and check what they contain, because they may come from others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kcomp.system.files import DamagedError, read_json

# the entries that every file has, with the JSON type of each
MANIFEST = {
    "recipe": "a text",
    "fingerprint": "a text",
    "backend": "a text",
    "seed": "a whole number",
    "fold": "a whole number",
    "table": "a text",
    "classes": "a list of texts",
    "metric": "a text",
    "scores": "a list of texts",
}
RESULT = {"scores": "an object", "seconds": "a number"}
TYPES: dict[str, tuple[type, ...]] = {
    "a text": (str,),
    "a whole number": (int,),
    "a number": (int, float),
    "a list of texts": (list,),
    "an object": (dict,),
}


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the content of a manifest.json.

    Raises:
        FileNotFoundError: If the file is missing.
        DamagedError: If it is not a JSON object, lacks an entry, or has one of the wrong type.
    """
    hint = "remove its folder"
    content = read_checked(path, MANIFEST, hint)
    target = content.get("target", {})
    if not isinstance(target, dict):
        raise DamagedError(f"{path} is damaged: 'target' must be an object; received {target!r:.80}; {hint}")
    if not is_plain_name(content["recipe"]):
        raise DamagedError(
            f"{path} is damaged: 'recipe' must be a file name; received {content['recipe']!r:.80}; {hint}"
        )
    return content


def read_result(path: Path) -> dict[str, Any]:
    """Return the content of a result.json.

    Raises:
        FileNotFoundError: If the file is missing.
        DamagedError: If it is not a JSON object, lacks an entry, has one of the wrong type, or names weights outside of
            the run's folder.
    """
    hint = "remove it, and train the run to its end again"
    content = read_checked(path, RESULT, hint)
    wrong = [value for value in content["scores"].values() if not (value is None or has_type(value, "a number"))]
    if wrong:
        raise DamagedError(f"{path} is damaged: scores must be numbers; received {wrong[0]!r:.80}; {hint}")
    average = content.get("average") or {}
    names = average.get("weights", []) if isinstance(average, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and is_inner_path(name) for name in names):
        raise DamagedError(
            f"{path} is damaged: 'average' must name weights in the run's folder; received {average!r:.80}; {hint}"
        )
    return content


def read_checked(path: Path, types: Mapping[str, str], hint: str) -> dict[str, Any]:
    """Return the JSON object in a file as a dict.

    Args:
        path: The file.
        types: The entries that the object must have, with the name of each type.
        hint: What to do with a damaged file, for the message.

    Raises:
        FileNotFoundError: If the file is missing.
        DamagedError: If it is not such an object.
    """
    try:
        content = read_json(path)
    except DamagedError as error:
        raise DamagedError(f"{error}; {hint}") from error
    missing = [name for name in types if name not in content]
    if missing:
        raise DamagedError(f"{path} is damaged: it lacks {', '.join(missing)}; {hint}")
    for name, kind in types.items():
        if not has_type(content[name], kind):
            raise DamagedError(f"{path} is damaged: {name!r} must be {kind}; received {content[name]!r:.80}; {hint}")
    return content


def has_type(value: Any, kind: str) -> bool:
    """Return whether a value of JSON has one of the types in `TYPES`."""
    if isinstance(value, bool) or not isinstance(value, TYPES[kind]):
        return False
    return not isinstance(value, list) or all(isinstance(text, str) for text in value)


def is_plain_name(name: str) -> bool:
    """Return whether a text is the name of a file, without a folder."""
    return name.strip(". ") != "" and not {"/", "\\", "\0", "\n", "\r"} & set(name)


def is_inner_path(path: str) -> bool:
    """Return whether a text is a relative path, with `/` between its parts, that does not leave its folder."""
    return all(is_plain_name(part) for part in path.split("/"))


def plain_name(parts: Sequence[Any], path: Path) -> str:
    """Return texts from a manifest.json, joined by "-", as a part of a file name.

    Raises:
        DamagedError: If the result is not a file name. The message names the file `path`.
    """
    name = "-".join(map(str, parts))
    if not is_plain_name(name):
        raise DamagedError(f"{path} is damaged: its entries must form a file name; they form {name!r:.120}")
    return name
