"""Import and read Python files by path, such as recipes."""

import importlib.util
import sys
import types
from pathlib import Path

from kcomp.system.extras import extra_for


def run_file(path: Path) -> types.ModuleType:
    """Import a file by path. The file can import modules from its own folder, as a script can."""
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; a recipe's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses looks the module up
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except (ImportError, NameError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not load: {type(error).__name__}: {error}{extra_for(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def read_source(path: Path) -> str:
    """Return the text of a file, with line feeds as line ends."""
    return path.read_text(encoding="utf-8").replace("\r\n", "\n")
