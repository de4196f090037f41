"""A process that imports Keras and a backend once, and runs each request in a fork of itself.

`python fork_server.py BACKEND FOLDER` with "jax", "torch", or "" for a process without Keras. It reads one request a
line from standard input, as JSON, and answers with two lines: the fork's process id, then its exit code. Child processes
of the forks (warm_python.py) make their requests through the socket FOLDER/BACKEND.socket. It ends when its input ends
or its parent dies. A fork has the imports and nothing else of what earlier requests did.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
import types

PR_SET_PDEATHSIG = 1  # of linux/prctl.h
WITHOUT_KERAS = ["numpy", "pandas", "scipy.stats", "scipy.optimize", "sklearn.linear_model", "sklearn.metrics"]
WITHOUT_KERAS += ["sklearn.model_selection", "sklearn.datasets", "cv2", "PIL.Image", "rich.progress", "rich.table"]
WITHOUT_KERAS += ["click.testing", "matplotlib.pyplot", "jinja2", "optuna"]
WITH_KERAS = ["keras", "kcomp.training.fit", "kcomp.prediction.runs", "kcomp.augment", "albumentations"]
OF_BACKEND = {"jax": ["jax.export", "flatbuffers"], "torch": ["torch._dynamo", "torch.export", "numba"]}
OF_BACKEND["torch"] += [f"kcomp.fast.cpu_loops.{name}" for name in ("silu", "depthwise", "excitation")]
JAX_SETTINGS = {  # those of a process that starts with these variables set
    "JAX_COMPILATION_CACHE_DIR": ("jax_compilation_cache_dir", str),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": ("jax_persistent_cache_min_compile_time_secs", float),
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": ("jax_persistent_cache_min_entry_size_bytes", int),
    "JAX_ENABLE_COMPILATION_CACHE": ("jax_enable_compilation_cache", lambda text: bool(int(text))),
    "JAX_ENABLE_X64": ("jax_enable_x64", lambda text: bool(int(text))),
}


def import_modules(backend):
    """Import what the requests need, except optional packages that are not installed."""
    if backend == "jax":
        from kcomp.system.import_hook import WithoutPyTorch

        sys.meta_path.insert(0, WithoutPyTorch())
    from kcomp.system.code_version import code_version

    code_version()  # a fork would compute the hash anew
    for name in WITHOUT_KERAS + (WITH_KERAS + OF_BACKEND[backend] if backend else []):
        with contextlib.suppress(ImportError, OSError):
            importlib.import_module(name)


def end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


# Variables that a fork takes over. Any other change needs a new process: libraries read variables on import. JAX reads
# XLA_FLAGS and NPROC when it first looks for devices, which the server never does. The fork sets its others.
CHANGEABLE = {"KCOMP_CACHE", "KCOMP_FAST", "KERAS_BACKEND", "NPROC", "PAUSE", "KILL_IN", "XLA_FLAGS", *JAX_SETTINGS}
CHANGEABLE |= {"FORCE_COLOR", "PYTHONUNBUFFERED", "COLUMNS", "PWD", "OLDPWD", "_", "SHLVL", "LC_CTYPE"}


def accepts(own, environment):
    """Whether a process with this environment may be a fork of a server with its own."""
    changed = {name for name in own.keys() | environment.keys() if own.get(name) != environment.get(name)}
    return all(name in CHANGEABLE or name.startswith(("PYTEST_", "KMP_")) for name in changed)


def prepare_fork(backend, request, outputs):
    """Give the fork the files, folder, environment, arguments and random numbers of a process that has just started."""
    end_with_parent()
    null = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate([null, *outputs]):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if "PYTHONUNBUFFERED" in os.environ:
        sys.stdout.reconfigure(write_through=True)
    sys.path[0] = ""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if backend == "jax":
        import jax

        if request["code"] is None:
            from kcomp.system.backends import prepare_backend

            prepare_backend(backend)
        for variable, (name, kind) in JAX_SETTINGS.items():
            if variable in os.environ:
                jax.config.update(name, kind(os.environ[variable]))


def run(request):
    """Run the code, or without code the module, as a process's main module; return the exit code."""
    try:
        if request["code"] is None:
            sys.argv = ["kcomp", *request["arguments"]]
            runpy.run_module(request.get("module", "kcomp.cli"), run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *request["arguments"]]
            sys.modules["__main__"] = module = types.ModuleType("__main__")
            exec(compile(request["code"], "<string>", "exec"), module.__dict__)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return 1
        return error.code or 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


def run_fork(backend, request, outputs):
    """Run a request in this process, which is a fork, and end the process."""
    code = 1
    try:
        prepare_fork(backend, request, outputs)
        code = run(request)
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(code)


class Fork:
    """A process that runs a request; `say` answers with its process id, and at its end with its exit code."""

    def __init__(self, process, say):
        self.process, self.say = process, say
        self.handle = os.pidfd_open(process)
        self.ended = False
        say(process)

    def end(self):
        os.close(self.handle)
        self.ended = True
        self.say(os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1]))

    def kill(self):
        if not self.ended:
            os.kill(self.process, signal.SIGKILL)


class Server:
    """Starts a fork for each request of standard input and of the socket, and says when it ends and how."""

    def __init__(self, backend, listener):
        self.backend, self.listener = backend, listener
        self.environment = dict(os.environ)
        self.input, self.output = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
        self.selector = selectors.DefaultSelector()

    def serve(self):
        """Answer until standard input ends."""
        self.selector.register(self.input, selectors.EVENT_READ, self.read_line)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        while not self.input.closed:
            for key, _ in self.selector.select():
                key.data()

    def read_line(self):
        line = self.input.readline()
        if not line:
            self.input.close()
            return
        request = json.loads(line)
        outputs = [os.open(path, os.O_WRONLY) for path in request["outputs"]]
        fork = Fork(self.fork(request, outputs), lambda number: print(number, file=self.output, flush=True))
        self.watch(fork.handle, fork.end)

    def watch(self, file, call):
        """Call a function once when there is something to read."""

        def unregister_and_call():
            self.selector.unregister(file)
            call()

        self.selector.register(file, selectors.EVENT_READ, unregister_and_call)

    def accept(self):
        connection, _ = self.listener.accept()
        _, outputs, _, _ = socket.recv_fds(connection, 1, 2)
        with connection.makefile("r") as file:
            request = json.loads(file.readline())

        def say(number):
            with contextlib.suppress(OSError):
                connection.sendall(f"{number}\n".encode())

        if not accepts(self.environment, request["environment"]):
            for file in outputs:
                os.close(file)
            say(0)
            connection.close()
            return
        fork = Fork(self.fork(request, outputs, own_session=True), say)

        def end():
            fork.end()
            connection.shutdown(socket.SHUT_RDWR)

        self.watch(fork.handle, end)
        self.watch(connection, lambda: (fork.kill(), connection))  # at the end of the process that asked

    def fork(self, request, outputs, own_session=False):
        process = os.fork()
        if not process:
            if own_session:
                os.setsid()
            self.input.close()
            self.output.close()
            self.listener.close()
            self.selector.close()
            run_fork(self.backend, request, outputs)
        for file in outputs:
            os.close(file)
        return process


def main(backend, folder):
    end_with_parent()
    listener = socket.socket(socket.AF_UNIX)
    address = f"{folder}/{backend}.socket"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(address)  # noqa: PTH108
    listener.bind(address)
    listener.listen(64)
    server = Server(backend, listener)
    os.dup2(2, 1)
    sys.executable = f"{folder}/python"
    import_modules(backend)
    gc.collect()
    gc.freeze()
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
