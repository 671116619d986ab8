"""The networks of the paper as data: an `Architecture` describes a network, `build` makes it.

ZFNet is Zeiler & Fergus 2014, Fig. 3; AlexNet is Krizhevsky et al. 2012. Readings that we take
where the papers leave room:

- Order: convolution → relu → max-pool → contrast normalisation (Zeiler & Fergus, §2 and Fig. 3),
  for AlexNet too, as in the paper's own replication. (Krizhevsky normalises before pooling.)
- ZFNet pads layer 1 by 1 and rounds its pools up: what makes the maps 110/55/26/13/13/13/13/6.
- Krizhevsky writes 224×224 inputs and 55×55 maps, which 11×11 at stride 4 gives with 2 pixels of
  padding. (Caffe reads it as 227×227 without padding: the same 55×55.)
- Krizhevsky's two GPUs are `groups=2` in layers 2, 4 and 5; the paper's replication is dense.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

import torch
from torch import nn

from convscope.errors import BadModel, BadOption

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Convnet",
    "Convolution",
    "Dense",
    "Initialisation",
    "alexnet",
    "architecture_named",
    "build",
    "initial_std",
    "initialise",
    "zfnet",
]

PIXEL_SCALE = 64.0  # the rough RMS of a mean-subtracted image in [-128, 128]
FIRST_STD = 3e-3  # of layer 1; ours, see `initialise`
PAPER_STD = 1e-2  # paper §3: "all weights are initialized to 1e-2", read as N(0, 0.01²)


class Initialisation(StrEnum):
    """How weights start; biases start at 0 in both."""

    HE = "he"  # He et al. 2015: std sqrt(2 / fan-in), for inputs of the pixels' scale
    PAPER = "paper"  # N(0, 0.01²): enough for wide layers, too small for a small network's


@dataclass(frozen=True)
class Convolution:
    """A convolutional layer: convolution, rectifier and, where it has them, pool and normalisation.

    The pool is a max-pool of 3×3 at stride 2, rounded up; contrast normalisation follows it.

    Attributes:
        number: its place in the paper's count, which its names carry (conv1, relu1, pool1, norm1).
        maps: how many feature maps it has.
        size: side of the square filters, in input positions.
        stride: of the filters, in input positions.
        padding: of the input on each side, in input positions.
        groups: of channels that are filtered apart.
        pooled: whether it has a max-pool.
        normalised: whether it has contrast normalisation.
    """

    number: int
    maps: int
    size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    pooled: bool = False
    normalised: bool = False

    def modules(self, channels: int) -> list[tuple[str, nn.Module]]:
        """The layer's modules by name, for an input of so many channels."""
        n = self.number
        conv = nn.Conv2d(
            channels, self.maps, self.size, self.stride, self.padding, groups=self.groups
        )
        layers: list[tuple[str, nn.Module]] = [(f"conv{n}", conv), (f"relu{n}", nn.ReLU())]
        if self.pooled:
            layers.append((f"pool{n}", nn.MaxPool2d(3, 2, ceil_mode=True)))
        if self.normalised:  # the constants of Krizhevsky et al. 2012, §3.3
            layers.append((f"norm{n}", nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)))
        return layers


@dataclass(frozen=True)
class Dense:
    """A fully connected layer with rectifier and dropout.

    Attributes:
        number: its place in the paper's count, which its names carry (fc6, relu6, drop6).
        units: how many outputs it has.
    """

    number: int
    units: int

    def modules(self, features: int, dropout: float) -> list[tuple[str, nn.Module]]:
        """The layer's modules by name, for so many inputs and a share of them dropped."""
        n = self.number
        return [
            (f"fc{n}", nn.Linear(features, self.units)),
            (f"relu{n}", nn.ReLU()),
            (f"drop{n}", nn.Dropout(dropout)),
        ]


@dataclass(frozen=True)
class Architecture:
    """A network of the paper's family, as a value: compare it, vary it, store it, build it.

    Attributes:
        name: of the architecture and of what was changed in it.
        input_size: height and width of the input, in pixels.
        convolutions: the convolutional layers, bottom up.
        dense: the fully connected layers above them, but for the last.
        classes: outputs of the last layer, fc8 (its softmax belongs to the loss).
        dropout: share of the units that are dropped in training.

    Raises:
        BadOption: less than one class, or an input that is too small for the layers.

    Example:
        >>> architecture_named("zfnet").with_classes(10).without(3, 4).name
        'zfnet without 3,4'
    """

    name: str
    input_size: int
    convolutions: tuple[Convolution, ...]
    dense: tuple[Dense, ...]
    classes: int = 1000
    dropout: float = 0.5  # paper §3

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise BadOption(f"{self.name} for {self.classes} classes: give at least 1")
        for name, (_, height, _) in self.maps():
            if height < 1:
                raise BadOption(
                    f"{self.name} at {self.input_size}x{self.input_size} pixels: nothing is left "
                    f"after {name}; give a larger input size"
                )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(3, H, W), in pixels."""
        return (3, self.input_size, self.input_size)

    def maps(self) -> list[tuple[str, tuple[int, int, int]]]:
        """Shapes of the feature maps: (name, (C, H, W)) after each convolution and each pool."""
        shapes = []
        side = self.input_size
        for layer in self.convolutions:
            side = (side + 2 * layer.padding - layer.size) // layer.stride + 1
            shapes.append((f"conv{layer.number}", (layer.maps, side, side)))
            if layer.pooled:
                side = math.ceil((side - 3) / 2) + 1
                shapes.append((f"pool{layer.number}", (layer.maps, side, side)))
        return shapes

    def with_classes(self, classes: int) -> Architecture:
        """The same network for another number of classes."""
        return replace(self, classes=classes)

    def without(self, *numbers: int) -> Architecture:
        """The same network with whole layers left out.

        Args:
            *numbers: of the layers.

        Raises:
            BadOption: no such layer, or one that carries a pool, which shapes all above it.

        Source:
            The rows "without" of the paper's Table 2.
        """
        whole = [layer.number for layer in self.convolutions if not layer.pooled]
        whole += [layer.number for layer in self.dense]
        if strangers := sorted(set(numbers) - set(whole)):
            raise BadOption(
                f"{self.name} without layer {strangers[0]}: only layers "
                f"{', '.join(map(str, whole))} can be left out"
            )
        if not numbers:
            return self
        return replace(
            self,
            name=f"{self.name} without {','.join(str(n) for n in sorted(set(numbers)))}",
            convolutions=tuple(c for c in self.convolutions if c.number not in numbers),
            dense=tuple(d for d in self.dense if d.number not in numbers),
        )

    def with_units(self, units: int) -> Architecture:
        """The same network with so many units in each hidden dense layer (6 and 7).

        Raises:
            BadOption: less than one unit.
        """
        if units < 1:
            raise BadOption(f"{self.name} with {units} units: give at least 1")
        dense = tuple(replace(layer, units=units) for layer in self.dense)
        if dense == self.dense:
            return self
        return replace(self, name=f"{self.name} units={units}", dense=dense)

    def with_maps(self, maps: Mapping[int, int]) -> Architecture:
        """The same network with other numbers of feature maps.

        Args:
            maps: layer's number -> how many maps, such as {3: 512, 4: 1024, 5: 512}.

        Raises:
            BadOption: no such layer, or a number that the layer's groups do not divide.
        """
        layers = {layer.number: layer for layer in self.convolutions}
        for number, count in maps.items():
            if number not in layers:
                raise BadOption(
                    f"{self.name} has no convolutional layer {number}: "
                    f"give one of {', '.join(map(str, layers))}"
                )
            if count < 1 or count % layers[number].groups:
                raise BadOption(
                    f"{self.name} with {count} maps in layer {number}: give a positive multiple "
                    f"of {layers[number].groups}"
                )
        changed = {n: count for n, count in sorted(maps.items()) if layers[n].maps != count}
        if not changed:
            return self
        return replace(
            self,
            name=f"{self.name} maps={','.join(f'{n}:{count}' for n, count in changed.items())}",
            convolutions=tuple(
                replace(layer, maps=changed.get(layer.number, layer.maps))
                for layer in self.convolutions
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """The architecture as JSON-able values; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """The architecture that `to_dict` described.

        Raises:
            TypeError: a value is missing, unknown or of another kind.
            KeyError: the layers are missing.
        """
        fields = dict(values)
        fields["convolutions"] = tuple(Convolution(**layer) for layer in fields["convolutions"])
        fields["dense"] = tuple(Dense(**layer) for layer in fields["dense"])
        return cls(**fields)


class Convnet(nn.Sequential):
    """The module of an architecture: conv1, relu1, pool1, norm1 ... pool5, flatten, fc6 ... fc8.

    Its input is RGB, mean-subtracted, roughly in [-128, 128]; its output are logits.

    Args:
        architecture: what to build.

    Attributes:
        architecture: what was built.

    Shape:
        (N, 3, H, W) -> (N, classes).
    """

    def __init__(self, architecture: Architecture) -> None:
        layers: list[tuple[str, nn.Module]] = []
        channels = 3
        for convolution in architecture.convolutions:
            layers += convolution.modules(channels)
            channels = convolution.maps
        layers.append(("flatten", nn.Flatten()))
        _, (_, height, width) = architecture.maps()[-1]
        features = channels * height * width
        for dense in architecture.dense:
            layers += dense.modules(features, architecture.dropout)
            features = dense.units
        layers.append(("fc8", nn.Linear(features, architecture.classes)))
        super().__init__(OrderedDict(layers))
        self.architecture = architecture


def build(
    architecture: Architecture,
    initialisation: Initialisation | None = Initialisation.HE,
    *,
    seed: int = 0,
) -> Convnet:
    """Build the module of an architecture, in training mode.

    Args:
        architecture: what to build.
        initialisation: how the weights are drawn; None leaves them unset, for weights that are
            loaded next.
        seed: of the weights; no other random generator is touched.

    Example:
        >>> module = build(architecture_named("zfnet-small").with_classes(10), seed=1)
    """
    with torch.device("meta"):  # PyTorch's own initialisation would only be thrown away
        network = Convnet(architecture)
    network = network.to_empty(device="cpu")
    if initialisation is not None:
        initialise(network, initialisation, seed=seed)
    return network


def initialise(network: nn.Module, initialisation: Initialisation, *, seed: int) -> None:
    """Draw the weights of every convolutional and dense layer anew, and set biases to 0.

    He's rule keeps the scale of its input, and pixels come at about 64, so logits would start in
    the hundreds: every layer takes an equal share of that scale away. The first convolution starts
    almost at nothing, so that what its filters show is learned, not drawn (measured on zfnet-small
    after 10 epochs: mean cosine to the start 0.06; 0.9 when it starts like the other layers).

    Args:
        network: changed in place.
        initialisation: He's rule, or the paper's.
        seed: of the weights; no other random generator is touched.

    Source:
        He et al. 2015; Zeiler & Fergus 2014, §3.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in _weighted(network):
        std = initial_std(network, layer, initialisation)
        with torch.no_grad():
            layer.weight.normal_(0.0, std, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()


def initial_std(
    network: nn.Module, layer: nn.Conv2d | nn.Linear, initialisation: Initialisation
) -> float:
    """The standard deviation of the weights with which a layer of a network starts.

    Args:
        network: with the layer.
        layer: a convolutional or dense one.
        initialisation: as `initialise` has it.
    """
    if initialisation is Initialisation.PAPER:
        return PAPER_STD
    layers = _weighted(network)
    if layer is layers[0]:
        return FIRST_STD
    return math.sqrt(2.0 / layer.weight[0].numel()) / PIXEL_SCALE ** (1 / len(layers))


def _weighted(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The convolutional and dense layers, from the pixels up."""
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


_ZFNET = Architecture(
    "zfnet",
    input_size=224,
    convolutions=(
        Convolution(1, 96, 7, stride=2, padding=1, pooled=True, normalised=True),
        Convolution(2, 256, 5, stride=2, pooled=True, normalised=True),
        Convolution(3, 384, 3, padding=1),
        Convolution(4, 384, 3, padding=1),
        Convolution(5, 256, 3, padding=1, pooled=True),
    ),
    dense=(Dense(6, 4096), Dense(7, 4096)),
)


def _alexnet(name: str, groups: int) -> Architecture:
    first = Convolution(1, 96, 11, stride=4, padding=2, pooled=True, normalised=True)
    second = Convolution(2, 256, 5, padding=2, groups=groups, pooled=True, normalised=True)
    third, *rest = _ZFNET.convolutions[2:]
    upper = (replace(layer, groups=groups) for layer in rest)
    return replace(_ZFNET, name=name, convolutions=(first, second, third, *upper))


_ZFNET_SMALL = Architecture(
    "zfnet-small",
    input_size=72,
    convolutions=(
        Convolution(1, 32, 7, stride=2, padding=1, pooled=True, normalised=True),
        Convolution(2, 64, 5, padding=2, pooled=True, normalised=True),
        Convolution(3, 96, 3, padding=1),
        Convolution(4, 96, 3, padding=1),
        Convolution(5, 64, 3, padding=1, pooled=True),
    ),
    dense=(Dense(6, 256), Dense(7, 256)),
    classes=12,
)

_ALEXNET_SMALL = replace(
    _ZFNET_SMALL,
    name="alexnet-small",
    convolutions=(
        Convolution(1, 32, 11, stride=4, padding=2, pooled=True, normalised=True),
        *_ZFNET_SMALL.convolutions[1:],
    ),
)

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        _ZFNET,
        _alexnet("alexnet", groups=2),
        _alexnet("alexnet-dense", groups=1),
        _ZFNET_SMALL,
        _ALEXNET_SMALL,
    )
}


def architecture_named(name: str) -> Architecture:
    """The architecture of a name.

    Raises:
        BadModel: there is none of that name; the nearest ones are offered.

    Example:
        >>> architecture_named("zfnet").input_size
        224
    """
    if name not in ARCHITECTURES:
        near = get_close_matches(name, ARCHITECTURES, n=3, cutoff=0.4) or list(ARCHITECTURES)
        raise BadModel(f"no architecture is called '{name}': did you mean {' or '.join(near)}?")
    return ARCHITECTURES[name]


def zfnet(
    classes: int = 1000,
    *,
    without: tuple[int, ...] = (),
    units: int = 4096,
    maps: Mapping[int, int] | None = None,
    seed: int = 0,
) -> Convnet:
    """Build ZFNet, or one of its rows in the paper's Table 2.

    It has 62,357,608 parameters with 1000 classes.

    Args:
        classes: outputs of the last layer.
        without: numbers of layers that are left out, such as (3, 4).
        units: of each of layers 6 and 7.
        maps: layer's number -> feature maps, such as {3: 512, 4: 1024, 5: 512}.
        seed: of the weights.

    Raises:
        BadOption: an architecture that cannot be.

    Source:
        Zeiler & Fergus 2014, Fig. 3 and Table 2.

    Example:
        >>> module = zfnet(classes=10, without=(3, 4))
    """
    wanted = ARCHITECTURES["zfnet"].with_classes(classes).with_maps(maps or {})
    return build(wanted.with_units(units).without(*without), seed=seed)


def alexnet(
    classes: int = 1000,
    *,
    groups: int = 2,
    without: tuple[int, ...] = (),
    units: int = 4096,
    maps: Mapping[int, int] | None = None,
    seed: int = 0,
) -> Convnet:
    """Build AlexNet, or one of its rows in the paper's Table 2.

    Args:
        classes: outputs of the last layer.
        groups: 2 as Krizhevsky et al. (60,965,224 parameters with 1000 classes), 1 as the paper's
            replication (62,378,344).
        without: numbers of layers that are left out, such as (3, 4).
        units: of each of layers 6 and 7.
        maps: layer's number -> feature maps, such as {3: 512, 4: 1024, 5: 512}.
        seed: of the weights.

    Raises:
        BadOption: an architecture that cannot be.

    Source:
        Krizhevsky et al. 2012; Zeiler & Fergus 2014, Table 2.

    Example:
        >>> module = alexnet(classes=10, groups=1)
    """
    if groups not in (1, 2):
        raise BadOption(f"alexnet with groups={groups}: give 2 (Krizhevsky) or 1 (the replication)")
    name = "alexnet" if groups == 2 else "alexnet-dense"
    wanted = ARCHITECTURES[name].with_classes(classes).with_maps(maps or {})
    return build(wanted.with_units(units).without(*without), seed=seed)
