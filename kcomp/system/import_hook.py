"""Delay the import of Keras until it is used, and prevent the import of PyTorch in a process that uses JAX."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

LAZY_MODULES = (
    "keras",
    "kcomp.augment",
    "kcomp.losses",
    "kcomp.models",
    "kcomp.optimizers",
    "kcomp.schedules",
    "kcomp.tracking",
    "kcomp.views",
)


class WithoutPyTorch:
    """An import hook that blocks the module albumentations.pytorch, which would import PyTorch."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "albumentations.pytorch":
            raise ImportError("on JAX, kcomp takes images as NumPy arrays: albumentations.pytorch is not loaded")


class LazyModule(ModuleType):
    """A module whose code runs when one of its attributes is used for the first time, or a submodule is imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.run()
        return getattr(self, name)

    def __getattribute__(self, name: str) -> Any:
        # Python reads __path__ to import a submodule, such as keras.optimizers, which needs the whole package.
        if name == "__path__" and name in ModuleType.__getattribute__(self, "__dict__"):
            self.run()
        return ModuleType.__getattribute__(self, name)

    def run(self) -> None:
        """Run the module's code."""
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None and self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)


class LazyLoader(Loader):
    """A loader that creates a `LazyModule`. The module's ordinary loader runs the code later."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return LazyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self.loader


class LazyFinder:
    """An import hook for the modules in `LAZY_MODULES`: their code runs only when they are used."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in LAZY_MODULES else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def lazy_keras(*, load: bool = True) -> Iterator[None]:
    """Delay the imports of Keras, and of kcomp's modules that need Keras, inside a `with` block.

    A module that is imported in the block is loaded when it is used, or when the block ends. With `load=False`, the end
    of the block loads nothing.
    """
    finder = LazyFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
    for name in LAZY_MODULES if load else ():
        module = sys.modules.get(name)
        if isinstance(module, LazyModule):
            module.run()
