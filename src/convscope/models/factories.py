"""Networks of a user's own: a factory in a Python module, or an entry of a torch.hub directory.

Both are the user's code, and run as such. Weights from a file never are.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from convscope.errors import BadModel
from convscope.images.torchvision_import import import_torchvision, operators_are_missing
from convscope.models.loaded import LoadedModule, blamed, seeded
from convscope.models.module_tensors import check_tensors
from convscope.models.weights import Weights, load_weights

__all__ = ["from_factory", "from_hub"]

OTHER_SOURCES = ("torchvision", "timm", "hub", "run")
"""Words that stand before a colon too, and are no modules to import."""
AROUND = (nn.DataParallel, DistributedDataParallel, AveragedModel)

T = TypeVar("T")


def from_factory(spec: str, weights: Weights | None, seed: int) -> LoadedModule:
    """Make the network of `package.module:factory`: call a function or class, or take a module.

    The current folder is searched too, as `python -m` does.

    Args:
        spec: package.module:factory.
        weights: that fill it; None leaves those that the factory made.
        seed: of what the factory draws with torch.

    Raises:
        BadModel: no such Python module or name, an exception in it, or a result that is not a
            torch module.
        BadCheckpoint: the weights do not fit.
    """
    path, _, name = spec.partition(":")
    if not all(part.isidentifier() for part in (*path.split("."), *name.split("."))):
        raise BadModel(f"model '{spec}': give package.module:factory, such as mynets.small:build")
    with _search_first(Path.cwd()), seeded(seed):
        source = _import(path, spec)
        factory: Any = source
        for part in name.split("."):
            if not hasattr(factory, part):
                raise _unknown_attribute(path, name, source)
            factory = getattr(factory, part)
        module = factory
        if not isinstance(factory, nn.Module):
            if not callable(factory):
                raise BadModel(
                    f"{spec} is of type {type(factory).__name__}: name a function, class or module"
                )
            module = _with_torchvision(spec, factory)
    return _loaded(spec, module, weights)


def from_hub(spec: str, weights: Weights | None, seed: int) -> LoadedModule:
    """Make the network of `hub:DIR:ENTRY`: an entry of the hubconf.py in a folder.

    The folder is a repository that is written for torch.hub, such as one in torch.hub's cache.
    Nothing is downloaded: an entry that takes `pretrained` gets False.

    Args:
        spec: DIR:ENTRY.
        weights: that fill it; None leaves those that the entry made.
        seed: of what the entry draws with torch.

    Raises:
        BadModel: no such folder or entry, an exception in it, or a result that is not a torch
            module.
        BadCheckpoint: the weights do not fit.
    """
    place, _, name = spec.rpartition(":")
    folder, whole = Path(place).expanduser(), f"hub:{spec}"
    file = folder / "hubconf.py"
    if not place or not file.is_file():
        raise BadModel(f"{whole}: no hubconf.py in '{place}': give hub:DIR:ENTRY")
    with _search_first(folder), seeded(seed):
        source = _with_torchvision(whole, lambda: _run_file(file))
        entries = {
            key: value
            for key, value in vars(source).items()
            if callable(value) and not key.startswith("_")
        }
        if name not in entries:
            raise _unknown_attribute(str(file), name, source)
        takes = inspect.signature(entries[name]).parameters
        options = {"pretrained": False} if "pretrained" in takes else {}
        module = _with_torchvision(whole, lambda: entries[name](**options))
    return _loaded(whole, module, weights)


def from_module(module: nn.Module) -> LoadedModule:
    """A module that is in memory; it stays in the mode that it is in.

    Args:
        module: with its weights; a wrapper such as DataParallel is taken off.

    Raises:
        BadModel: a tensor of it has no values, or is none that Convscope computes with.
    """
    with blamed(type(module).__name__):
        inner, notes = _without_wrappers(module)
        title = type(inner).__name__
        check_tensors(title, inner)
    return LoadedModule(inner, notes=notes, title=title)


def _run_file(path: Path) -> ModuleType:
    """The Python module in a file, under no name that another could import."""
    found = spec_from_file_location("hubconf", path)
    assert found is not None and found.loader is not None, path
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _with_torchvision(spec: str, make: Callable[[], T]) -> T:
    """Call a user's code; once more if it fails as torchvision's compiled part does not load.

    Raises:
        BadModel: it fails otherwise.
    """
    with blamed(spec):
        try:
            return make()
        except RuntimeError as error:
            if not operators_are_missing(error):
                raise
        import_torchvision()  # which declares them
        return make()


def _loaded(spec: str, module: Any, weights: Weights | None) -> LoadedModule:
    """What a user's code returned, filled."""
    if not isinstance(module, nn.Module):
        raise BadModel(f"{spec} returned {type(module).__name__}, not a torch.nn.Module")
    with blamed(spec):
        module, notes = _without_wrappers(module)
        module.eval()
        title = type(module).__name__
        if weights is None:
            check_tensors(spec, module)
        else:
            notes += load_weights(module, weights, name=spec)
            check_tensors(spec, module)
    if weights is None:
        notes = (f"the weights are those that {spec} made", *notes)
        return LoadedModule(module, notes=notes, title=title)
    return LoadedModule(
        module,
        weights,
        preprocess=weights.preprocess,
        classes=weights.classes,
        notes=notes,
        title=title,
    )


def _without_wrappers(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The network that DataParallel, torch.compile and their like stand around."""
    around = []
    while True:
        inner = getattr(module, "_orig_mod", None)  # of torch.compile
        if isinstance(module, AROUND):
            inner = module.module
        if not isinstance(inner, nn.Module):
            break
        around.append(type(module).__name__)
        module = inner
    return module, ((f"taken out of {' and '.join(around)}",) if around else ())


def _import(path: str, spec: str) -> ModuleType:
    try:
        return _with_torchvision(spec, lambda: importlib.import_module(path))
    except BadModel as wrong:
        cause = wrong.__cause__
        if (
            isinstance(cause, ModuleNotFoundError)
            and cause.name
            and f"{path}.".startswith(f"{cause.name}.")
        ):
            near = get_close_matches(path, OTHER_SOURCES, n=1, cutoff=0.7)
            if path.endswith(".py"):  # a file, where a module is wanted
                near = [path.removesuffix(".py").replace("/", ".")]
            hint = f": did you mean {near[0]}:{spec.partition(':')[2]}?" if near else ""
            raise BadModel(
                f"{spec}: no module {cause.name}, neither installed nor in {Path.cwd()}{hint}"
            ) from cause
        raise


def _unknown_attribute(path: str, name: str, source: ModuleType) -> BadModel:
    public = [attribute for attribute in vars(source) if not attribute.startswith("_")]
    near = get_close_matches(name, public, n=3)
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    where = path if path == source.__file__ else f"{path} ({source.__file__})"
    return BadModel(f"{where} has no {name}{hint}")


@contextmanager
def _search_first(folder: Path) -> Iterator[None]:
    """Let Python find modules in a folder, too."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before
