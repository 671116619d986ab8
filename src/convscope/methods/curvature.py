"""Curvature at a step: along which changes of a picture a unit's value bends, and along which not.

The second derivatives of a unit at its optimum say what it is invariant to. In a network of
rectifiers they are zero almost everywhere, though its value bends from piece to piece. So they are
taken at a finite step s: of the value averaged over normal changes of that size,

    H = E[g(x + s B z) z'] / s        g: the gradient along the columns of B, z: normal

which is the Hessian itself where a unit is quadratic. B are up to 48 smooth functions inside what
the unit sees: products of cosines of few waves under a Hann window, in each colour. The draws come
in pairs z, -z, and their own covariance is divided out, so that no draw counts as curvature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from convscope.display import Brief
from convscope.errors import BadInput, BadOption, NonFinite
from convscope.geometry.box import Box
from convscope.images.pictures import crop
from convscope.methods.ascent.loop import AscentSettings, Frame, forward_to, maximise
from convscope.methods.ascent.objectives import after_activation, before_activation
from convscope.methods.ascent.parametrisations import Canvas
from convscope.methods.sweep import one_image
from convscope.network.graph import Graph
from convscope.network.network import Network
from convscope.network.unit import Unit
from convscope.progress import Progress, silent

__all__ = [
    "Curvature",
    "CurvatureSettings",
    "CurvedDirection",
    "Slopes",
    "curvature",
    "curvatures",
    "slopes_at_step",
    "smooth_functions",
]

FUNCTIONS = 48
"""Smooth functions along which pictures are changed, at most."""
WALK = (-3, -2, -1, 0, 1, 2, 3)
"""Where a walk's frames stand, in sizes of a typical change."""
BATCH = 32
"""Pictures that go through the network together."""
NORMAL = 1.959964
"""Standard errors to either side of a 95 % interval."""


@dataclass(frozen=True)
class CurvatureSettings:
    """How curvature is measured.

    Attributes:
        step: how far a changed picture is from the first: the root mean square of a pixel's change
            over what the unit sees, as a share of the way from black to white.
        samples: changed pictures that are looked at.
        directions: most curved ones, and as many of the least curved.
        ascent: how the optimum is found where no image is given.
        seed: of the draws.

    Raises:
        BadOption: a number is out of range.
    """

    step: float = 0.05
    samples: int = 1024
    directions: int = 3
    ascent: AscentSettings = field(default_factory=AscentSettings)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf:
            raise BadOption(f"step {self.step:g}: give a share of the way from black to white")
        if self.samples < 4 or self.samples % 4:
            raise BadOption(f"{self.samples} samples: give a multiple of 4, of two halves of pairs")
        if self.directions < 1:
            raise BadOption(f"{self.directions} directions: give 1 or more")


@dataclass(frozen=True, eq=False)
class CurvedDirection(Brief):
    """One direction in the space of pictures, and what the unit does along it.

    Attributes:
        most: whether it is of the most curved, else of the least.
        curvature: of the value, by the square of the change's norm in preprocessed units. Found
            along the direction of one half of the samples, measured on the other half.
        low: of its 95 % interval.
        high: likewise.
        slope: of the averaged value along the direction.
        split_half: the cosine between the directions that the two halves of the samples give.
        direction: the change of a picture, of norm 1.
        frames: the pictures along the walk, at `WALK`.
        activations: of the unit there.

    Shape:
        direction: (C, h, w). frames: (F, C, h, w). activations: (F,).
    """

    most: bool
    curvature: float
    low: float
    high: float
    slope: float
    split_half: float
    direction: Tensor
    frames: Tensor
    activations: Tensor

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the pictures."""
        return {
            "curved": "most" if self.most else "least",
            "curvature": self.curvature,
            "interval": [self.low, self.high],
            "slope": self.slope,
            "split_half": self.split_half,
            "activations": [float(value) for value in self.activations],
        }


@dataclass(frozen=True, eq=False)
class Curvature(Brief):
    """How a unit's value bends around a picture.

    Attributes:
        unit: whose; with the position in the image, if one was given.
        layer: whose value was taken: the one before the unit's rectifier.
        picture: from which it starts, of what the unit sees.
        activation: the unit's there.
        eigenvalues: of the whole matrix, the largest in size first. The first ones are flattered,
            as the extremes of many; `CurvedDirection.curvature` is not.
        directions: the most curved first, then the least curved, the least of all last.
        step: as a share of the way from black to white.
        norm: of a typical change, in preprocessed units.
        samples: how many changed pictures were looked at.
        chance: the mean split-half cosine of halves that are noise alone.

    Shape:
        picture: (C, h, w). eigenvalues: (k,).

    Source:
        Berkes & Wiskott 2006, "On the analysis and interpretation of inhomogeneous quadratic forms
        as receptive fields"; Le et al. 2010, "Tiled convolutional neural networks".
    """

    unit: Unit
    layer: str
    picture: Tensor
    activation: float
    eigenvalues: Tensor
    directions: tuple[CurvedDirection, ...]
    step: float
    norm: float
    samples: int
    chance: float

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON-able dictionary, without the pictures."""
        return {
            "unit": str(self.unit),
            "activation": self.activation,
            "step": self.step,
            "norm": self.norm,
            "walk": [self.norm * at for at in WALK],
            "samples": self.samples,
            "functions": len(self.eigenvalues),
            "split_half_by_chance": self.chance,
            "eigenvalues": [float(value) for value in self.eigenvalues],
            "directions": [one.to_dict() for one in self.directions],
        }


def curvatures(
    network: Graph,
    layer: str,
    channels: Sequence[int],
    canvas: Canvas,
    settings: CurvatureSettings = CurvatureSettings(),
    *,
    progress: Progress = silent,
) -> list[Curvature]:
    """Measure how units of one layer bend around their optimised pictures.

    The pictures are made together, as `maximise` makes them, of the unit in the middle.

    Args:
        network: The network.
        layer: A convolution, its activation, or a layer of scores.
        channels: Which feature maps.
        canvas: The colours, as large as the image.
        settings: How.
        progress: Is called with (what, done, total).

    Raises:
        NoSuchLayer, BadOption, NonFinite: As `maximise` and `curvature`.

    Example:
        >>> [found] = curvatures(network, "conv2", [3], canvas)
        >>> [(one.curvature, one.split_half) for one in found.directions]
    """
    target = before_activation(network, layer)
    frame = forward_to(network, target)
    rows, columns = network.layer(target).grid
    middle = (rows // 2, columns // 2)
    units = [_Bending(network, Unit(layer, each), middle, frame, canvas) for each in channels]
    for unit in units:
        unit.check(settings)
    ascent = maximise(
        network, layer, channels, canvas,
        replace(settings.ascent, size=frame.size, variants=1), progress=progress,
    )  # fmt: skip
    return [
        unit.measured(picture, settings, progress)
        for unit, picture in zip(units, ascent.picture, strict=True)
    ]


def curvature(
    network: Network,
    image: Tensor,
    unit: Unit | str,
    canvas: Canvas,
    settings: CurvatureSettings = CurvatureSettings(),
    *,
    progress: Progress = silent,
) -> Curvature:
    """Measure how a unit bends around what it sees of an image.

    Args:
        network: The network.
        image: Preprocessed.
        unit: Without a position it stands for the strongest one of its feature map in the image.
        canvas: The colours, as large as the image.
        settings: How.
        progress: Is called with (what, done, total).

    Raises:
        NoSuchLayer, NoSuchUnit: There is none.
        BadOption: There are too few samples.
        BadInput: The unit sees too little of the image.
        NonFinite: The unit's gradient is not finite.

    Shape:
        image: (C, H, W).

    Example:
        >>> found = curvature(network, image, "conv2/3", canvas)
        >>> found.eigenvalues, found.directions[0].activations
    """
    image, unit = one_image(network, image), network.unit(unit)
    target = before_activation(network, unit.layer)
    if unit.position is None:
        with torch.no_grad():
            own = network.values(image[None], [target])[target][0, unit.channel]
        unit = unit.at(*divmod(int(own.argmax()), network.layer(target).grid[1]))
    assert unit.position is not None
    frame = forward_to(network, target, unit.position)
    return _Bending(network, unit, unit.position, frame, canvas).measured(
        crop(image, _box(frame), 0), settings, progress
    )


def smooth_functions(height: int, width: int, most: int) -> Tensor:
    """Cosines of few waves under a Hann window, made orthonormal, the slowest first.

    Args:
        height: Of the window, pixels.
        width: Likewise.
        most: How many at most; there are no more than pixels.

    Returns:
        (m, height, width), float64.
    """
    waves = sorted(
        ((u / height) ** 2 + (v / width) ** 2, u, v)
        for u in range(min(height, most))
        for v in range(min(width, most))
    )[:most]
    down, across = (_cosines(extent, most) for extent in (height, width))
    planes = torch.stack([torch.outer(down[u], across[v]) for _, u, v in waves])
    basis, _ = torch.linalg.qr(planes.flatten(1).T)
    return basis.T.reshape(len(waves), height, width)


def _cosines(extent: int, most: int) -> Tensor:
    """The type-2 cosine functions under the window, (min(most, extent), extent)."""
    at = (torch.arange(extent, dtype=torch.float64) + 0.5) / extent
    waves = torch.arange(min(most, extent), dtype=torch.float64)
    return torch.cos(math.pi * waves[:, None] * at) * torch.sin(math.pi * at) ** 2


@dataclass(frozen=True, eq=False)
class Slopes:
    """Differences of a unit's gradient over pairs of changes.

    Attributes:
        draws: z of each pair.
        bends: (g(x + s B z) - g(x - s B z)) / 2s.
        slope: the mean of g over all changes.

    Shape:
        draws: (P, k). bends: (P, k). slope: (k,). All float64.
    """

    draws: Tensor
    bends: Tensor
    slope: Tensor

    def halves(self) -> tuple[Slopes, Slopes]:
        """The first and the second half of the pairs."""
        middle = len(self.draws) // 2
        first, second = slice(None, middle), slice(middle, None)
        one, other = (
            Slopes(self.draws[part], self.bends[part], self.slope) for part in (first, second)
        )
        return one, other

    def matrix(self) -> Tensor:
        """H, (k, k): what of the bends follows from the draws, made symmetric."""
        fitted = torch.linalg.solve(self.draws.T @ self.draws, self.draws.T @ self.bends)
        return (fitted + fitted.T) / 2

    def directions(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues of H, the largest in size first, and their vectors, (k,) and (k, k) rows."""
        values, vectors = torch.linalg.eigh(self.matrix())
        order = values.abs().argsort(descending=True, stable=True)
        return values[order], vectors.T[order]

    def along(self, direction: Tensor) -> tuple[float, float]:
        """The curvature along a direction that was found elsewhere, and its squared error."""
        covariance = self.draws.T @ self.draws
        own = self.bends @ direction
        fitted = torch.linalg.solve(covariance, self.draws.T @ own)
        left = (own - self.draws @ fitted).square().sum() / (len(own) - len(direction))
        spread = direction @ torch.linalg.solve(covariance, direction)
        return float(direction @ fitted), float(left * spread)


def like(vectors: Tensor, others: Tensor) -> Tensor:
    """Put directions into the order of those that they are most like, one each.

    Args:
        vectors: An orthonormal basis.
        others: Another one.

    Shape:
        vectors, others: (k, k), a row each. So is the result.
    """
    _, order = linear_sum_assignment((vectors @ others.T).abs().numpy(), maximize=True)
    return others[torch.from_numpy(order)]


def slopes_at_step(
    gradient: Callable[[Tensor], Tensor],
    count: int,
    step: float,
    samples: int,
    generator: torch.Generator,
    tell: Callable[[int], None] = lambda _: None,
) -> Slopes:
    """Look at a function's gradient around a point, at pairs of normal changes.

    Args:
        gradient: From coordinates (n, k) to gradients (n, k).
        count: k.
        step: s.
        samples: How many gradients are taken.
        generator: For the draws.
        tell: Is told how many were taken.
    """
    pairs = torch.randn(samples // 2, count, generator=generator, dtype=torch.float64)
    bends, total = [], torch.zeros(count, dtype=torch.float64)
    for part in pairs.split(BATCH // 2):
        both = gradient(torch.cat([step * part, -step * part]))
        plus, minus = both.double().cpu().split(len(part))
        bends.append((plus - minus) / (2 * step))
        total += plus.sum(0) + minus.sum(0)
        tell(2 * sum(map(len, bends)))
    return Slopes(pairs, torch.cat(bends), total / samples)


def _box(frame: Frame) -> Box:
    height, width = frame.size
    return Box(frame.top, frame.left, frame.top + height, frame.left + width)


class _Bending:
    """One unit, the frame that it sees, and the smooth changes of it.

    Attributes:
        functions: of one colour, (m, h, w).
        top, left: of these in the frame.
        count: k, of all colours.
    """

    def __init__(
        self, network: Graph, unit: Unit, position: tuple[int, int], frame: Frame, canvas: Canvas
    ) -> None:
        self.network, self.unit, self.frame = network, unit, frame
        self.target = before_activation(network, unit.layer)
        colours, *extent = canvas.shape
        field = network.layer(self.target).field.box(position)
        seen = _box(frame).intersect(field).clip(*extent)
        self.top, self.left = seen.top - frame.top, seen.left - frame.left
        functions = smooth_functions(seen.height, seen.width, max(1, FUNCTIONS // colours))
        self.functions = functions.to(canvas.low)
        self.colours, self.count = colours, colours * len(functions)
        if self.count < 2:
            raise BadInput(f"{unit} sees a single number: there are no directions to compare")
        span = (canvas.high - canvas.low)[:, seen.top : seen.bottom, seen.left : seen.right]
        self.range = float(span.double().norm())

    def changed(self, picture: Tensor, coordinates: Tensor) -> Tensor:
        """The picture changed along the functions, (n, k) -> (n, C, h, w)."""
        shares = coordinates.to(self.functions).unflatten(1, (self.colours, -1))
        change = torch.einsum("ncm,mhw->nchw", shares, self.functions)
        rows, columns = self.functions.shape[1:]
        height, width = picture.shape[-2:]
        around = (
            self.left, width - self.left - columns, self.top, height - self.top - rows,
        )  # fmt: skip
        return picture + torch.nn.functional.pad(change, around)

    def values(self, pictures: Tensor) -> Tensor:
        """All values of the unit's layer before the rectifier."""
        return self.frame.forward(pictures, [self.target])[self.target]

    def own(self, values: Tensor) -> Tensor:
        """The unit's of them, (n,)."""
        mine = values[:, self.unit.channel]
        return mine if mine.dim() == 1 else mine[:, self.frame.at[0], self.frame.at[1]]

    def gradient(self, picture: Tensor, coordinates: Tensor) -> Tensor:
        """The gradient along the functions at some changes, (n, k) -> (n, k)."""
        with torch.enable_grad():
            at = coordinates.to(self.functions).requires_grad_()
            total = self.own(self.values(self.changed(picture, at))).sum()
            [found] = torch.autograd.grad(total, [at])
        if not bool(torch.isfinite(found).all()):
            raise NonFinite(f"{self.unit}: its gradient is NaN or infinite near the picture")
        return found

    @torch.no_grad()
    def activations(self, pictures: Tensor) -> Tensor:
        return self.own(after_activation(self.network, self.unit.layer, self.values(pictures)))

    def check(self, settings: CurvatureSettings) -> None:
        """Refuse fewer samples than directions."""
        if settings.samples // 4 <= self.count:
            raise BadOption(
                f"{settings.samples} samples for {self.count} functions: give "
                f"{4 * (self.count + 1)} or more"
            )

    def measured(
        self, picture: Tensor, settings: CurvatureSettings, progress: Progress
    ) -> Curvature:
        """Measure the curvature around a picture of the frame's size."""
        self.check(settings)
        picture, norm = picture.detach(), settings.step * self.range
        slopes = slopes_at_step(
            lambda at: self.gradient(picture, at), self.count, norm / math.sqrt(self.count),
            settings.samples, torch.Generator().manual_seed(settings.seed),
            lambda done: progress(f"samples of {self.unit}", done, settings.samples),
        )  # fmt: skip
        eigenvalues, vectors = slopes.directions()
        shown = min(settings.directions, self.count // 2)
        ranks = [*range(shown), *range(self.count - shown, self.count)]
        halves = slopes.halves()
        split = [like(vectors, half.directions()[1]) for half in halves]
        found = []
        for rank in ranks:
            vector = vectors[rank]
            vector = vector if float(slopes.slope @ vector) >= 0 else -vector
            one, other = (each[rank] for each in split)
            (first, error), (second, second_error) = halves[1].along(one), halves[0].along(other)
            middle, reach = (first + second) / 2, NORMAL * math.sqrt(error + second_error) / 2
            walk = norm * torch.tensor(WALK, dtype=torch.float64)
            frames = self.changed(picture, walk[:, None] * vector)
            direction = self.changed(torch.zeros_like(picture), vector[None])[0]
            found.append(
                CurvedDirection(
                    rank < shown, middle, middle - reach, middle + reach,
                    float(slopes.slope @ vector), float((one @ other).abs()),
                    direction.cpu(), frames.float().cpu(), self.activations(frames).double().cpu(),
                )
            )  # fmt: skip
        return Curvature(
            self.unit, self.target, picture.float().cpu(),
            float(self.activations(picture[None])), eigenvalues, tuple(found),
            settings.step, norm, settings.samples, _chance(self.count),
        )  # fmt: skip


@cache
def _chance(count: int, draws: int = 20) -> float:
    """The mean split-half cosine where two halves are noise, found as that of the halves is."""
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(draws):
        noise = torch.randn(2, count, count, generator=generator, dtype=torch.float64)
        one, other = noise + noise.transpose(1, 2)
        bases = [torch.linalg.eigh(matrix)[1].T for matrix in (one + other, one, other)]
        first, second = (like(bases[0], basis) for basis in bases[1:])
        found.append((first * second).sum(1).abs().mean())
    return float(torch.stack(found).mean())
