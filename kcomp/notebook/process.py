"""Run a function of kcomp.notebook.child in a child process, and show the child's output while it runs."""

import builtins
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kcomp.notebook.progress import ProgressDisplay
from kcomp.sweep.process import Process
from kcomp.system import errors, files
from kcomp.system.processes import child_environment, describe_exit

PAUSE = 0.1  # seconds between two checks of the output


def run_child(function: str, arguments: Mapping[str, Any], backend: str) -> Any:
    """Run a function of kcomp.notebook.child in a child process, and return its result.

    An interrupt of this process also ends the child.

    Args:
        function: The name of the function.
        arguments: The function's arguments by name. JSON must be able to store them.
        backend: "jax" or "torch".

    Raises:
        Exception: The error that the function raised in the child. RuntimeError if the child was killed, or for an
            unusual error.
    """
    with tempfile.TemporaryDirectory(prefix="kcomp-notebook-") as name:
        request, answer, log = (Path(name) / file for file in ("request.json", "answer.json", "log"))
        files.write_json(request, {"function": function, "arguments": dict(arguments), "backend": backend})
        command = [sys.executable, "-m", "kcomp.notebook.child", str(request), str(answer)]
        process = Process(command, child_environment(backend), log)
        try:
            code, last = follow(process)
        finally:
            process.ask_to_end()
            process.end()
        content = files.read_json(answer) if answer.is_file() else {}
    if "result" in content:
        return content["result"]
    if content:
        raise to_exception(content["type"], content["message"])
    raise RuntimeError(f"the child process failed: {describe_exit(code, last)}")


def follow(process: Process) -> tuple[int, str]:
    """Show the output of a process until it ends. Return its exit code and its last line."""
    code, last, header = None, "", True
    with ProgressDisplay() as display:
        while code is None:
            time.sleep(PAUSE)
            code, lines = process.look()
            if header and lines:
                lines, header = lines[1:], False  # the first line is the command line, which Process writes
            for line in lines:
                display.line(line)
                last = line.strip() or last
    return code, last


def to_exception(name: str, message: str) -> Exception:
    """Return an exception with the type `name`, such as "ValueError", and this message.

    If neither Python nor kcomp has this type, the exception is a RuntimeError.
    """
    for module in (builtins, errors, files):
        kind = getattr(module, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                return kind(message)
            except TypeError:  # a type that takes other arguments, such as UnicodeDecodeError
                break
    return RuntimeError(f"{name}: {message}")
