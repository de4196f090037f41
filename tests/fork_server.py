"""A process that imports Keras and a backend once, and runs each request in a fork of itself.

`python fork_server.py BACKEND` with "jax", "torch", or "" for a process without Keras. It reads one request a line from
standard input, as JSON, and answers with two lines: the fork's process id, then its exit code. It ends when its input
ends or its parent dies. A fork has the imports and nothing else of what earlier requests did.
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
import signal
import sys
import threading
import traceback
import types

PR_SET_PDEATHSIG = 1  # of linux/prctl.h
WITHOUT_KERAS = ["numpy", "pandas", "scipy.stats", "scipy.optimize", "sklearn.linear_model", "sklearn.metrics"]
WITHOUT_KERAS += ["sklearn.model_selection", "sklearn.datasets", "cv2", "PIL.Image", "rich.progress", "rich.table"]
WITHOUT_KERAS += ["click.testing", "matplotlib.pyplot", "jinja2", "optuna"]
WITH_KERAS = ["keras", "kcomp.training.fit", "kcomp.prediction.runs", "kcomp.augment"]
OF_BACKEND = {"jax": ["jax.export", "flatbuffers"], "torch": ["torch._dynamo", "torch.export", "numba"]}
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
    for name in WITHOUT_KERAS + (WITH_KERAS + OF_BACKEND[backend] if backend else []):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)


def end_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def prepare_fork(backend, request):
    """Give the fork the files, folder, environment, arguments and random numbers of a process that has just started."""
    end_with_parent()
    for number, (path, mode) in enumerate([(os.devnull, os.O_RDONLY)] + [(p, os.O_WRONLY) for p in request["outputs"]]):
        file = os.open(path, mode)
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
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
    """Run the code, or without code the command line, as a process's main module; return the exit code."""
    try:
        if request["code"] is None:
            sys.argv = ["kcomp", *request["arguments"]]
            runpy.run_module("kcomp.cli", run_name="__main__", alter_sys=True)
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


def run_fork(backend, request):
    """Run a request in this process, which is a fork, and end the process."""
    code = 1
    try:
        prepare_fork(backend, request)
        code = run(request)
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(code)


def main(backend):
    end_with_parent()
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import_modules(backend)
    gc.collect()
    gc.freeze()
    for line in iter(requests.readline, ""):
        process = os.fork()
        if not process:
            os.close(requests.fileno())
            os.close(answers.fileno())
            run_fork(backend, json.loads(line))
        print(process, file=answers, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
