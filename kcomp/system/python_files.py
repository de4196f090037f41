"""Import or read a Python file by its path. Recipes are such files."""

import importlib.util
import sys
import types
from pathlib import Path

from kcomp.system.extras import extra_for


def run_file(path: Path) -> types.ModuleType:
    """Run a Python file and return it as a module. The file can import modules from its own folder.

    Raises:
        ValueError: If the file is not a Python file, or does not load because of an error such as a failed import.
    """
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; a recipe's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses searches for the module here
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}" if error.filename else path  # zero bytes have no line
        raise ValueError(f"{place}: {error.msg}") from error
    except (ImportError, NameError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not load: {type(error).__name__}: {error}{extra_for(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def read_source(path: Path) -> str:
    """Return the text of a file. Windows line ends become line feeds."""
    return path.read_text(encoding="utf-8").replace("\r\n", "\n")
