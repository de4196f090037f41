"""Stands in for Python in child processes that kcomp starts: runs a module of kcomp in a fork of a fork server.

`warm_python.py FOLDER ARGUMENTS...`, where FOLDER has the sockets of the fork servers. The fork has this process's
output, folder and environment. Signals that ask this process to end are passed on, its death ends the fork, and it
ends as the fork ends. What no server accepts runs in a new process of Python.
"""

import contextlib
import json
import os
import signal
import socket
import sys

MODULES = ("kcomp.cli", "kcomp.sweep.plan", "kcomp.notebook.child", "kcomp.jax_programs.compile")
MODULES += ("kcomp.compare.worker.probe",)
# Commands that import a backend in their own process.
WITH_BACKEND = ("train", "predict", "soup", "layers", "check", "find-rate")


def imported_backend(arguments, backend):
    """The backend that a command imports in its own process, else "": its flag wins over the environment."""
    arguments = [str(argument) for argument in arguments if argument != "--debug"]
    if arguments and arguments[0] not in WITH_BACKEND:
        return ""
    with contextlib.suppress(ValueError, IndexError):
        backend = arguments[arguments.index("--backend") + 1]
    return backend if backend in ("jax", "torch") else ""


def backend_of(module, arguments):
    """The backend that this module of kcomp imports with these arguments."""
    if module == "kcomp.jax_programs.compile":
        return "jax"
    if module == "kcomp.sweep.plan":
        with open(arguments[0]) as file:  # noqa: PTH123
            return json.load(file)["backends"][0]
    backend = os.environ.get("KERAS_BACKEND", "")
    return imported_backend(arguments, backend) if module == "kcomp.cli" else backend


def ask_for_fork(folder, module, arguments):
    """Return the connection to a server, and the process id of the fork in which it runs the module; else None."""
    connection = socket.socket(socket.AF_UNIX)
    request = {
        "module": module,
        "code": None,
        "arguments": arguments,
        "cwd": os.getcwd(),  # noqa: PTH109
        "environment": dict(os.environ),
    }
    try:
        connection.connect(f"{folder}/{backend_of(module, arguments)}.socket")
        socket.send_fds(connection, [b"\n"], [1, 2])
        connection.sendall(json.dumps(request).encode() + b"\n")
        file = connection.makefile("r")
        process = int(file.readline() or 0)
    except OSError:
        return None
    return (file, process) if process else None


def follow(file, process):
    """Pass signals on to a fork, and end as it ends."""

    def pass_on(number, _):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    code = int(file.readline() or 1)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if code != -signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


def main(folder, arguments):
    if arguments[:1] == ["-m"] and arguments[1] in MODULES:
        fork = ask_for_fork(folder, arguments[1], arguments[2:])
        if fork:
            follow(*fork)
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
