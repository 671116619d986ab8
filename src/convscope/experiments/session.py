"""From the words of the command line to models, networks and pictures, saying what was used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.display import Brief
from convscope.errors import BadImage, BadOption
from convscope.experiments.options import Device, Reading, Running
from convscope.network.task import Task
from convscope.text import is_number
from convscope.version import __version__

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from convscope.images.given import Given
    from convscope.images.image_set import ImageSet
    from convscope.images.raster import AnyPicture
    from convscope.models.zoo import Model
    from convscope.network.network import Network

__all__ = [
    "UNTRAINED",
    "Picture",
    "Session",
    "choose_device",
    "open_read",
    "open_session",
    "session_of",
]

NAMELESS = ("Sequential",)  # classes of PyTorch's that any network may have
RANDOM = "random, seed {seed}: this network was never trained"
UNTRAINED = "the weights are random: this says what the architecture does, untrained"


@dataclass(frozen=True, eq=False)
class Session(Brief):
    """A model ready to be looked into: its network on the device that was asked for.

    Attributes:
        sets: DATA -> the set of images that is open already.
        warn: is told what a person must know.
    """

    model: Model
    network: Network
    device: torch.device
    seed: int
    sets: Mapping[str, ImageSet] = field(default_factory=dict)
    warn: Callable[[str], None] = lambda _: None

    def facts(self) -> dict[str, str]:
        """What is used, for a person."""
        model = self.model
        known = f"SHA-256 {model.weights_sha256}"
        facts = {
            "model": model.spec,
            "weights": RANDOM.format(seed=self.seed) if model.random_weights else known,
            "input": model.preprocess.describe(),
            "device": str(self.device),
        }
        notes = [note for note in model.notes if not note.startswith("random weights")]
        notes += [about] if (about := self._about_outputs()) else []
        return {**facts, "note": "; ".join(notes)} if notes else facts

    def _about_outputs(self) -> str | None:
        about = self.network.about_outputs()
        return about if about is None or self.model.output is not None else f"{about} (--output)"

    def record(self) -> dict[str, Any]:
        """What is used, for a file: JSON-able."""
        model = self.model
        return {
            "convscope": __version__,
            "model": model.spec,
            "weights_sha256": model.weights_sha256,
            "random_weights": model.random_weights,
            "preprocess": model.preprocess.to_dict(),
            "device": str(self.device),
            "seed": self.seed,
            **({"output": self.network.output} if self.network.about_outputs() else {}),
            **({"task": str(self.network.task)} if self.network.task is not Task.AUTO else {}),
            **({"weights_key": model.weights_key} if model.weights_key else {}),
        }

    def title(self) -> str:
        """The model in a few words, for a figure: its class, or MODEL where that says nothing."""
        model = self.model
        return model.spec if model.name in NAMELESS else model.name

    def images(self, spec: str) -> ImageSet:
        """Open a set of images; scenes are drawn at the input's size.

        Args:
            spec: The set, as on the command line.

        Raises:
            BadData: There is no such set.
        """
        if spec in self.sets:
            return self.sets[spec]
        from convscope.images.datasets import open_images

        images = open_images(spec, size=self.model.input_shape[-1], seed=self.seed)
        for line in images.about_left_out():
            self.warn(line)
        return images

    def picture(self, spec: Given | Picture) -> Picture:
        """Open one image.

        Args:
            spec: An image file, or DATA#NAME: one image of a data set, by its name or its number.
                Or a picture of Pillow's, or an array, as `images.given` reads them.

        Raises:
            BadImage: The image is missing or corrupt, or the set has none of that name.
            BadData: There is no such set.
        """
        from convscope.images.files import read_picture
        from convscope.images.given import decoded

        if isinstance(spec, Picture):
            return spec
        if not isinstance(spec, str):
            given = decoded(spec, self.model.preprocess.form)
            return Picture(given.name, given.image, given.notes)
        data, hash_mark, name = spec.rpartition("#")
        if not hash_mark or not data or Path(spec).exists():
            file = read_picture(spec, form=self.model.preprocess.form)
            return Picture(Path(spec).name, file.image, file.notes)
        images = self.images(data)
        index = _find(images, name)
        loaded = images.load(index, self.model.preprocess.form)
        return Picture(images.name(index), loaded.image, loaded.notes, images.label(index))

    def input(self, image: Given | Picture | Tensor) -> tuple[str, Tensor]:
        """An image in whatever form, as the network takes it, and what it is called.

        Args:
            image: As of `picture`. Or a tensor (C, H, W) or (1, C, H, W) that is preprocessed; one
                of whole numbers is an array of pixels.

        Shape:
            The result: (C, H, W).

        Raises:
            BadImage, BadData: As `picture` and `tensor`.
            BadInput: A tensor has another shape.
        """
        from convscope.images.given import THE_IMAGE, is_preprocessed
        from convscope.methods.sweep import one_image

        if is_preprocessed(image):
            return THE_IMAGE, one_image(self.network, image)
        picture = self.picture(image)
        return picture.name, self.tensor(picture)[0]

    def tensor(self, picture: Picture) -> Tensor:
        """Preprocess a picture as the network takes it.

        Args:
            picture: The picture.

        Shape:
            The result: (1, C, H, W).

        Raises:
            BadImage: It cannot be fitted to the input.
        """
        try:
            return self.model.preprocess.tensor(picture.image).unsqueeze(0).to(self.device)
        except BadImage as error:
            raise BadImage(f"{picture.name}: {error}") from None


@dataclass(frozen=True, eq=False)
class Picture(Brief):
    """One image, upright, with the words for it.

    Attributes:
        name: What it is called.
        image: The image.
        notes: What had to be done to read it, such as leaving out an alpha channel.
        label: Its class in its data set; None where it has none.
    """

    name: str
    image: AnyPicture
    notes: tuple[str, ...] = ()
    label: int | None = None

    def describe(self) -> str:
        width, height = self.image.size
        return "; ".join((f"{self.name} ({width}×{height} pixels", *self.notes)) + ")"


def open_read(spec: str, reading: Reading, seed: int) -> Model:
    """Open a model as the options of a verb say, without a look at its graph.

    Args:
        spec: The model, as on the command line.
        reading: How images are read.
        seed: Of random weights.

    Raises:
        BadModel: There is no such model, or it cannot be read.
        BadCheckpoint: Its weights do not fit.
        BadOption: Input, preprocess or fit is not one that is allowed.
    """
    from convscope.models.zoo import open_model

    return open_model(
        spec,
        input=reading.input,
        preprocess=reading.preprocess,
        fit=reading.fit,
        range=reading.range,
        show_bands=reading.show_bands,
        classes=reading.classes,
        seed=seed,
        output=reading.output,
        task=reading.task,
        weights_key=reading.weights_key,
    )


def open_session(spec: str, reading: Reading, running: Running) -> Session:
    """Open a model as the options of a verb say.

    Args:
        spec: The model, as on the command line.
        reading: How images are read.
        running: Device, seed, batch size and workers.

    Raises:
        BadModel: There is no such model, or it cannot be read.
        BadCheckpoint: Its weights do not fit.
        UnsupportedOp: It uses an operation that is not in the op table.
        BadOption: Input, preprocess, fit or device is not one that is allowed.
    """
    device = choose_device(running.device)
    from convscope.methods.classes import class_names

    model = open_read(spec, reading, running.seed)
    network = model.network()
    if model.classes is not None:
        model = replace(model, classes=class_names(network, model.classes))
    return Session(model, network.to(device), device, running.seed)


def session_of(model: Model, running: Running) -> Session:
    """Make a session of a model that is open already.

    Args:
        model: The model.
        running: Device and seed.

    Raises:
        UnsupportedOp: It uses an operation that is not in the op table.
        BadOption: cuda was asked for and is not there.
    """
    device = choose_device(running.device)
    return Session(model, model.network().to(device), device, running.seed)


def choose_device(device: Device) -> torch.device:
    """Return the device to run on.

    Args:
        device: The device of the option.

    Raises:
        BadOption: cuda was asked for and is not there.
    """
    import torch

    if device is Device.CPU:  # without looking for a GPU: drivers have much to say then
        return torch.device("cpu")
    there = torch.cuda.is_available()
    if device is Device.CUDA and not there:
        raise BadOption("--device cuda: PyTorch finds no GPU here; use --device cpu, or auto")
    return torch.device("cuda" if there else "cpu")


def _find(images: ImageSet, name: str) -> int:
    found = next((i for i in range(len(images)) if images.name(i) == name), None)
    if found is None and is_number(name):
        found = int(name)
    if found is None or found >= len(images):
        raise BadImage(
            f"no image {name!r} in {images.spec}: give its name, such as {images.name(0)}, "
            f"or its number, 0 to {len(images) - 1}"
        )
    return found
