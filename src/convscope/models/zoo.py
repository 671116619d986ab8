"""Models by name: MODEL, as the command line spells it, becomes a `Model`.

A Model is a module with its weights, and how it wants its images. MODEL is one of

    zfnet | alexnet | alexnet-dense | zfnet-small | alexnet-small     [@weights | @run-folder]
    run:DIR                                     what `convscope train` left in DIR
    torchvision:NAME, timm:NAME                 [@weights]; nothing is ever downloaded
    timm:hf-hub:OWNER/NAME, timm:local-dir:DIR  [@weights]; what lies in the cache, or a folder
    package.module:factory                      [@weights]; a function, a class or a module of yours
    hub:DIR:ENTRY                               [@weights]; an entry of DIR/hubconf.py
    FILE.pt2                                    a program that torch.export.save wrote

Where no weights are given, they are drawn from the seed, and the Model says so. This file reads
the specification and decides on the preprocessing; sources.py holds torchvision and timm,
factories.py a user's own code, programs.py exported programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.display import Brief
from convscope.errors import BadCheckpoint, BadModel, BadOption
from convscope.images.classes import read_classes
from convscope.images.fitting import Fit
from convscope.images.preprocess import Preprocess, choose_preprocess
from convscope.images.preprocess_settings import parse_shape
from convscope.images.scaling import Scaling
from convscope.models.architectures import ARCHITECTURES, Architecture, Convnet, build
from convscope.models.factories import from_factory, from_hub, from_module
from convscope.models.fitting import Wanted, wanted_by
from convscope.models.loaded import LoadedModule
from convscope.models.programs import about_file, from_program, is_program
from convscope.models.shards import weights_in_folder
from convscope.models.sources import from_timm, from_torchvision, libraries_with
from convscope.models.weights import Weights, load_weights, module_sha256, read_weights
from convscope.network.legend import Legend
from convscope.network.network import Network, open_network
from convscope.network.task import Task
from convscope.text import error_words

__all__ = ["Model", "open_model"]

RUN_WEIGHTS = "weights.safetensors"  # in a run's folder, written when its training is complete
SMALL = 128  # pixels; networks below are trained on pictures drawn at the input's size
FORMS = (
    f"{', '.join(ARCHITECTURES)}, run:DIR, torchvision:NAME, timm:NAME, package.module:factory, "
    "hub:DIR:ENTRY, each but run: also with @weights, or FILE.pt2"
)


@dataclass(frozen=True)
class Model(Brief):
    """A module that can be used: with its weights, and with how it wants its images.

    Attributes:
        module: from (N, C, H, W) to (N, classes); in eval mode, if it was not given as a module.
        preprocess: how pictures become its input.
        spec: the model as it was asked for.
        weights_sha256: of the weights file; of the tensors themselves where no file was read, or
            where a key chose them from it.
        random_weights: whether the weights are random numbers from a seed.
        classes: names of the outputs, if known.
        notes: what a user should know about how it was opened, a sentence each.
        title: what to call it in a heading, if `spec` does not say it.
        weights_key: where in the weights file the weights are, if the user said so.
        output: which of several outputs is its answer (see `open_network`); None is the first.
        task: what the numbers of its answer are meant as.
    """

    module: nn.Module
    preprocess: Preprocess
    spec: str
    weights_sha256: str | None
    random_weights: bool
    classes: tuple[str, ...] | None
    notes: tuple[str, ...] = ()
    output: str | int | None = None
    task: Task = Task.AUTO
    title: str | None = None
    weights_key: str | None = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W), in pixels."""
        return self.preprocess.shape

    def network(self) -> Network:
        """Read the module as a network, whose tensors are the module's own.

        Raises:
            BadModel: the module cannot be read (see `open_network`).
            BadOption: no such output, or there are not as many names as classes.
        """
        network = open_network(self.module, self.input_shape, output=self.output, task=self.task)
        count = network.layer(network.output).channels
        names = len(self.classes or ())
        if self.classes is not None and names != count and (names, count) != (2, 1):
            raise BadOption(
                f"{self.spec}: {names} class names (of --classes, or of its weights), but its "
                f"output {network.output!r} tells {max(2, count)} classes: give a name for each"
            )
        network.legend = Legend(self.preprocess, self.classes, self.name)
        return network

    @property
    def name(self) -> str:
        """What to call it in a heading."""
        name, _, weights = self.spec.partition("@")
        whose = ", random weights" if self.random_weights else ""
        return f"{self.title or name}{'@' if weights else ''}{Path(weights).name}{whose}"

    def __repr__(self) -> str:
        size = "x".join(map(str, self.input_shape))
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"<Model {self.name}: {size}, {self.preprocess.scaling}{classes}>"


@dataclass(frozen=True)
class InputOptions:
    """What the user says about the images' preprocessing, before the model is known.

    Attributes:
        shape: (C, H, W) of the input, in pixels.
        scaling: of the pixels' values, or the whole preprocessing.
        fit: how a picture becomes the input's size.
        range: the samples that are black and white.
        show_bands: the channels that are shown.

    None stands for the model's own way.
    """

    shape: tuple[int, int, int] | None
    scaling: str | Mapping[str, Any] | Preprocess | None
    fit: Fit | None
    range: Any = None
    show_bands: Any = None

    def settle(self, own: Preprocess | None, spec: str) -> Preprocess:
        """Decide how images are preprocessed.

        Args:
            own: the model's own way, if it has one.
            spec: of the model, for messages.

        Raises:
            BadOption: neither the user nor the model says how.
        """
        if isinstance(self.scaling, Preprocess):
            return self._changed(self.scaling)
        if self.scaling is None and own is not None:
            return self._changed(own)
        shape = self.shape or (own.shape if own else None)
        if shape is None or self.scaling is None:
            raise BadOption(
                f"{spec} does not say how it wants its images: give "
                f"{' and '.join(self._missing(shape))}"
            )
        fit = self.fit or (own.fit if own else Fit.AUTO)
        chosen = choose_preprocess(
            self.scaling, shape, fit, range=self.range, show_bands=self.show_bands
        )
        if own and own.mean is not None and own.scaling is chosen.scaling and own.shape == shape:
            return replace(chosen, mean=own.mean)  # the stored mean, not ImageNet's
        return chosen

    def _changed(self, preprocess: Preprocess) -> Preprocess:
        """The same preprocessing with what the user says."""
        said = {
            "shape": self.shape, "fit": self.fit, "range": self.range,
            "show_bands": self.show_bands,
        }  # fmt: skip
        return replace(preprocess, **{key: value for key, value in said.items() if value})

    def _missing(self, shape: tuple[int, int, int] | None) -> list[str]:
        """The options that must be given."""
        options = [] if shape else ["--input (such as 3x224x224)"]
        if self.scaling is None:
            options.append("--preprocess (imagenet, unit, paper, caffe or FILE.yaml)")
        return options


def open_model(
    spec: str | nn.Module,
    *,
    input: str | Iterable[int] | None = None,
    preprocess: str | Mapping[str, Any] | Preprocess | None = None,
    fit: str | Fit | None = None,
    classes: str | Path | Iterable[str] | None = None,
    seed: int = 0,
    output: str | int | None = None,
    task: str | Task = Task.AUTO,
    weights_key: str | None = None,
    range: str | Iterable[float] | None = None,
    show_bands: str | Iterable[int] | None = None,
) -> Model:
    """Open any MODEL of the command line.

    Args:
        spec: zfnet, zfnet-small, alexnet, ..., run:DIR, torchvision:NAME, timm:NAME,
            package.module:factory, hub:DIR:ENTRY or FILE.pt2; may end in @WEIGHTS, but for run:
            and .pt2. Or a module, which stays as it is and needs `input` and `preprocess`.
        input: the input's shape, (C, H, W) or "3x224x224". This, `preprocess` and `fit` override
            what the model or its weights say.
        preprocess: imagenet, unit, paper, caffe, a YAML file, the table that such a file holds, or
            a Preprocess.
        fit: auto, crop, stretch or none.
        classes: names, or a file of them with a line or JSON entry per class.
        seed: of the weights, where none are given.
        output: which of several outputs is its answer, by name or number; default: the first.
        task: what the numbers of its answer are meant as: auto, classify, multilabel or regress.
        weights_key: where in the weights file the weights are, where it holds several:
            state_dict_ema, student.backbone.
        range: (LO, HI) or "0,10000": the samples that are black and white, of pictures of more
            than 8 bits a sample.
        show_bands: "4,3,2" or three numbers: the channels that pictures show, counted from 1.

    Raises:
        BadModel: unknown name, or a factory that fails.
        BadCheckpoint: weights that do not fit.
        BadOption: nothing says how images are preprocessed, or an option's value is not allowed.
        BadData: the file of class names cannot be read.

    Example:
        >>> model = convscope.open_model("torchvision:resnet18@resnet18.safetensors")
        >>> network = model.network()
    """
    wish = InputOptions(_shape(input), preprocess, _fit(fit), range, show_bands)
    if task not in list(Task):
        raise BadOption(f"task {task!r}: it is {', '.join(Task)}")
    names = read_classes(classes) if isinstance(classes, str | Path) else classes
    if isinstance(spec, nn.Module):
        if weights_key is not None:
            raise BadOption(f"weights_key {weights_key!r}: a module has its weights; leave it out")
        loaded = from_module(spec)
        spec = type(loaded.module).__name__
    else:
        spec = _spec(spec)
        loaded = _load(spec, wish, seed, weights_key)
        loaded.module.eval()
    wish = replace(wish, shape=wish.shape or loaded.shape)
    whole = loaded.weights is not None and weights_key is None  # else the file's hash is not enough
    digest = loaded.weights.sha256 if loaded.weights and whole else module_sha256(loaded.module)
    return Model(
        module=loaded.module,
        preprocess=wish.settle(loaded.preprocess, spec),
        spec=spec,
        weights_sha256=digest,
        random_weights=loaded.random_weights,
        classes=tuple(names) if names is not None else loaded.classes,
        notes=loaded.notes,
        output=output,
        task=Task(task),
        title=loaded.title,
        weights_key=weights_key,
    )


def _load(spec: str, wish: InputOptions, seed: int, key: str | None) -> LoadedModule:
    """The module that `spec` names, filled with its weights."""
    if spec.startswith("run:"):
        path = _in_run(Path(spec.removeprefix("run:")).expanduser())
        return _trained(None, read_weights(path), wish)
    name, at, path_text = spec.partition("@")
    if at and not path_text:
        raise BadModel(f"{spec}: nothing after the @; give a weights file, or leave the @ out")
    if key is not None and not at:
        raise BadOption(f"--weights-key {key}: {spec} has no weights file; give one as MODEL@FILE")
    if is_program(name):
        if at:
            raise BadModel(f"{name} has its weights in it: leave @{path_text} out")
        return from_program(Path(name).expanduser(), wish.shape)
    weights = _weights_at(path_text, key) if at else None
    if name in ARCHITECTURES:
        return _trained(name, weights, wish) if weights else _untrained(name, wish, seed)
    source, colon, rest = name.partition(":")
    if source in SOURCES and colon:
        return SOURCES[source](rest, weights, seed)
    if (said := about_file(name)) is not None:
        raise BadModel(said)
    if colon:
        return from_factory(name, weights, seed)
    raise BadModel(f"no model is called '{name}': {_near(name)}")


SOURCES = {"torchvision": from_torchvision, "timm": from_timm, "hub": from_hub}


def _near(name: str) -> str:
    """What a user may have meant by a name that is none of ours."""
    if Path(f"{name}.py").is_file():
        return f"{name}.py is here: name what in it makes the network, such as {name}:build"
    found = get_close_matches(name, ARCHITECTURES, n=3, cutoff=0.75)  # without importing theirs
    found = found or libraries_with(name)
    found = found or get_close_matches(name, ARCHITECTURES, n=3, cutoff=0.5)
    found = found or libraries_with(name, exactly=False)
    return f"did you mean {' or '.join(found)}?" if found else f"MODEL is {FORMS}"


def _untrained(name: str, wish: InputOptions, seed: int) -> LoadedModule:
    """One of our networks with random weights."""
    architecture = ARCHITECTURES[name]
    if wish.shape is not None:
        channels, height, width = wish.shape
        if channels != architecture.input_shape[0]:
            raise BadOption(
                f"{name} takes RGB pictures, not {channels} channels: give --input 3xNxN, or a "
                "network of your own as package.module:factory"
            )
        if height != width:
            raise BadOption(f"{name} takes square images, not {height}x{width}: give --input 3xNxN")
        architecture = replace(architecture, input_size=height)
    return LoadedModule(
        build(architecture, seed=seed),
        random_weights=True,
        preprocess=_paper_preprocess(architecture),
        notes=(f"random weights, seed {seed}",),
    )


def _trained(name: str | None, weights: Weights, wish: InputOptions) -> LoadedModule:
    """One of our networks, as its weights describe it.

    Args:
        name: of the network that was asked for; None where the weights alone say which it is.
        weights: from a file or a run.
        wish: what the user says about the input.
    """
    architecture = weights.architecture
    notes: tuple[str, ...] = ()
    if architecture is None:
        if name is None:
            raise BadCheckpoint(
                f"{weights.path} does not say which network it belongs to: "
                "open it as MODEL@FILE, such as zfnet-small@FILE"
            )
        architecture = _fitted_to(weights, name, wish)
        notes = (f"{weights.path} does not say how its images were prepared",)
    elif name is not None and architecture.name.split(" ")[0] != name:
        raise BadCheckpoint(
            f"{weights.path} holds {architecture.name}, not {name}: "
            f"open it as {architecture.name.split(' ')[0]}@{weights.path}"
        )
    if wish.shape not in (None, architecture.input_shape):
        raise BadOption(
            f"--input {'x'.join(map(str, wish.shape or ()))}: {weights.path} was trained for "
            f"3x{architecture.input_size}x{architecture.input_size}; leave --input out"
        )
    module, said = _filled(architecture, weights)
    return LoadedModule(
        module,
        weights=weights,
        preprocess=weights.preprocess or _paper_preprocess(architecture),
        classes=weights.classes,
        notes=(*notes, *said),
    )


def _filled(architecture: Architecture, weights: Weights) -> tuple[nn.Module, tuple[str, ...]]:
    """One of our networks with its weights, and what was done to make them fit."""
    weights.match(_wanted(architecture, weights), architecture.name)  # before it takes memory
    module = build(architecture, None)
    return module, load_weights(module, weights, name=architecture.name)


def _wanted(architecture: Architecture, weights: Weights) -> Wanted:
    """What an architecture wants to be filled with, whatever its size.

    Raises:
        BadCheckpoint: it is larger than any network.
    """
    try:
        with torch.device("meta"):
            return wanted_by(Convnet(architecture))
    except (RuntimeError, ArithmeticError, ValueError) as error:
        words = error_words(error)
        raise BadCheckpoint(
            f"{weights.path}: its metadata 'architecture' describes no network ({words})"
        ) from error


def _fitted_to(weights: Weights, name: str, wish: InputOptions) -> Architecture:
    """The named architecture for the classes of a file that does not describe its network."""
    architecture = ARCHITECTURES[name]
    if wish.shape is not None:
        architecture = replace(architecture, input_size=wish.shape[1])
    free = frozenset(("fc8.weight", "fc8.bias"))
    match = weights.find(replace(_wanted(architecture, weights), free=free), name)
    shape = match.found["fc8.bias"].shape if match else None
    return architecture if not shape else architecture.with_classes(shape[0])


def _paper_preprocess(architecture: Architecture) -> Preprocess:
    """The paper's preprocessing, with ImageNet's mean for want of the training set's."""
    fit = Fit.STRETCH if architecture.input_size < SMALL else Fit.CROP
    return Preprocess(architecture.input_shape, Scaling.PAPER, fit)


def _weights_at(text: str, key: str | None) -> Weights:
    path = Path(text).expanduser()
    if path.is_dir():
        run = (path / RUN_WEIGHTS).is_file()
        path = (None if run else weights_in_folder(path)) or _in_run(path)
    return read_weights(path, key)


def _in_run(folder: Path) -> Path:
    """The file of the final weights in a run's folder.

    Raises:
        BadModel: no such folder, no run's folder, or a run that is not finished.
    """
    path = folder / RUN_WEIGHTS
    if path.is_file():
        return path
    if not folder.is_dir():
        raise BadModel(f"run {folder}: no such folder; give one that 'convscope train' made")
    kept = sorted(folder.glob("epoch-*.safetensors"))
    if kept:
        raise BadModel(
            f"run {folder} is not finished: it holds no {RUN_WEIGHTS}; "
            f"finish it, or open its last checkpoint as MODEL@{kept[-1]}"
        )
    raise BadModel(f"{folder} holds no {RUN_WEIGHTS}: give a folder that 'convscope train' made")


def _shape(given: str | Iterable[int] | None) -> tuple[int, int, int] | None:
    if given is None:
        return None
    if not isinstance(given, str | Iterable):
        raise BadOption(f"input {given!r}: it is (C, HEIGHT, WIDTH), such as (3, 224, 224)")
    text = given if isinstance(given, str) else "x".join(map(str, given))
    return parse_shape(text)


def _spec(given: object) -> str:
    if isinstance(given, str | Path):
        return str(given)
    if isinstance(given, type):
        raise BadModel(f"{given.__name__} is a class: give a module that it makes")
    raise BadModel(
        f"no model is a {type(given).__name__}: give a module, or a MODEL of the command line"
    )


def _fit(given: str | None) -> Fit | None:
    if given is not None and given not in list(Fit):
        raise BadOption(f"--fit {given}: it is {', '.join(Fit)}")
    return None if given is None else Fit(given)
