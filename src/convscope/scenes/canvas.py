"""The canvas of the rendered scenes: pose, light, and a pen that paints shaded shapes.

An object is drawn in its own unit (its body within about -1..1, x right, y down) by a Pen that
knows where the object stands in the picture. Each painted shape is lit from the picture's light,
darkens at its rim, throws a contact shadow on the parts below it, and is smooth at its edge.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from convscope.scenes.rng import Colour, Rng
from convscope.scenes.shapes import PixelValues, Point, Shape

Parts = dict[str, Point]  # the names of an object's parts, and where they are in its own unit


CONTACT_REACH = 0.09  # how far a part's contact shadow reaches, in the object's unit
SHADOW_REACH = 0.44  # how far an object's thrown shadow reaches, in the object's unit
TILE_SIDE = 512  # pixels of a texture tile


@dataclass(frozen=True)
class Pose:
    """Where an object stands in the picture, how large, and how it is turned.

    Attributes:
        row: Of its centre, pixels; a pixel (r, c) covers r..r+1, c..c+1.
        column: Of its centre, pixels.
        scale: The length of the object's unit, pixels.
        angle: Radians, clockwise as seen.
        mirrored: Whether left and right are swapped.
    """

    row: float
    column: float
    scale: float
    angle: float = 0.0
    mirrored: bool = False

    def pixel(self, point: Point) -> tuple[float, float]:
        """Map a point (x, y) of the object to (row, column) in the picture."""
        x, y = -point[0] if self.mirrored else point[0], point[1]
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        return self.row + sin * x + cos * y, self.column + cos * x - sin * y

    def local(self, rows: slice, columns: slice) -> tuple[PixelValues, PixelValues]:
        """Compute the object's coordinates at the centres of some pixels: x and y, each (h, w)."""
        cos, sin = math.cos(self.angle) / self.scale, math.sin(self.angle) / self.scale
        middles = [np.arange(s.start, s.stop, dtype=np.float32) for s in (rows, columns)]
        down = (middles[0] + (0.5 - self.row))[:, None]
        right = (middles[1] + (0.5 - self.column))[None, :]
        x = right * cos + down * sin
        return (-x if self.mirrored else x), down * cos - right * sin


@dataclass(frozen=True)
class Light:
    """The picture's one light: where it stands, and how strongly it models and shades.

    Attributes:
        x: Of the unit vector towards the light, in the picture.
        y: Of the same vector; y points down.
        strength: About 0.5..1, how much lit and unlit sides differ.
        shadow: 0..1, how dark the thrown shadow is.
    """

    x: float
    y: float
    strength: float
    shadow: float


@dataclass(frozen=True)
class Finish:
    """How a surface takes the light; all 0 is a flat colour.

    Attributes:
        shade: How much the lit side differs from the unlit side.
        rim: How much the surface darkens towards the outline.
        gloss: How bright the highlight is.
        grain: How uneven the colour is.
        rough: How uneven the outline is, in the object's unit.
        contact: How dark the shadow is on the parts just beside and below.
    """

    shade: float = 0.0
    rim: float = 0.0
    gloss: float = 0.0
    grain: float = 0.0
    rough: float = 0.0
    contact: float = 0.0


FLAT = Finish()
MATTE = Finish(shade=0.28, rim=0.30, grain=0.05, contact=0.30)
GLOSSY = Finish(shade=0.30, rim=0.35, gloss=0.75, contact=0.30)
FUR = Finish(shade=0.25, rim=0.22, grain=0.30, rough=0.05, contact=0.30)
LEAFY = Finish(shade=0.40, rim=0.25, grain=0.45, rough=0.12, contact=0.25)
INK = Finish(shade=0.10)


class Pen:
    """Draws one object on a layer of its own.

    Args:
        canvas: The picture that the layer is for.
        pose: Where the object stands.
        reach: How far the object may reach from its centre, in its own unit.

    Attributes:
        layer: (4, h, w), premultiplied RGB and alpha, of the pixels in `region`.
        region: Rows and columns of the picture that the object and its shadow may touch.
    """

    def __init__(self, canvas: SceneCanvas, pose: Pose, reach: float = 1.9) -> None:
        self.pose, self.light = pose, canvas.light
        middle, half = (pose.row, pose.column), (reach + SHADOW_REACH) * pose.scale
        first = [min(max(int(m - half), 0), canvas.size - 1) for m in middle]
        last = [max(min(int(m + half) + 1, canvas.size), 1) for m in middle]
        self.region = slice(first[0], last[0]), slice(first[1], last[1])
        self._x, self._y = pose.local(*self.region)
        self._noise = canvas.noise[self.region]
        self.layer = np.zeros((4, *self._x.shape), dtype=np.float32)
        # the light's direction in the object's own frame
        cos, sin = math.cos(pose.angle), math.sin(pose.angle)
        self._light_x = (cos * self.light.x + sin * self.light.y) * (-1 if pose.mirrored else 1)
        self._light_y = cos * self.light.y - sin * self.light.x

    def paint(
        self,
        shape: Shape,
        colour: Colour,
        finish: Finish = MATTE,
        marks: Sequence[tuple[Shape, Colour]] = (),
    ) -> None:
        """Paint a shape over what is there.

        Args:
            shape: The shape, in the object's coordinates.
            colour: Its colour.
            finish: How its surface takes the light.
            marks: Shapes in other colours on its surface.
        """
        reach = CONTACT_REACH if finish.contact else 0.0
        window = self._window(shape, 1.0 / self.pose.scale + finish.rough + reach)
        if window is None:
            return
        x, y = self._x[window], self._y[window]
        distance = shape.distance(x, y)
        if finish.rough:
            distance = distance + self._noise[window] * finish.rough
        layer = self.layer[:, window[0], window[1]]
        if finish.contact:
            near = np.minimum(np.maximum(1 - distance * (1 / CONTACT_REACH), 0), 1)
            layer[:3] *= 1 - (finish.contact * self.light.shadow * 2) * near * near
        cover = self._cover(distance)
        flat = np.array(colour, dtype=np.float32)[:, None, None]
        for mark, mark_colour in marks:
            part = self._cover(mark.distance(x, y))
            flat = flat + part * (np.array(mark_colour, dtype=np.float32)[:, None, None] - flat)
        layer *= 1 - cover
        layer[:3] += cover * self._lit(flat, shape, distance, window, finish)
        layer[3] += cover

    def _window(self, shape: Shape, margin: float) -> tuple[slice, slice] | None:
        """Return the rows and columns of the layer that the shape may touch, or None."""
        left, top, right, bottom = shape.bounds
        corners = [
            self.pose.pixel((x, y))
            for x in (left - margin, right + margin)
            for y in (top - margin, bottom + margin)
        ]
        rows, columns = [c[0] for c in corners], [c[1] for c in corners]
        top_row, left_column = self.region[0].start, self.region[1].start
        height, width = self._x.shape
        first_row = max(int(min(rows)) - top_row, 0)
        last_row = min(int(max(rows)) + 1 - top_row, height)
        first_column = max(int(min(columns)) - left_column, 0)
        last_column = min(int(max(columns)) + 1 - left_column, width)
        if first_row >= last_row or first_column >= last_column:
            return None
        return slice(first_row, last_row), slice(first_column, last_column)

    def _cover(self, distance: PixelValues) -> PixelValues:
        """Compute how much of each pixel lies inside the outline, 0..1."""
        return np.minimum(np.maximum(0.5 - distance * self.pose.scale, 0), 1)

    def _lit(
        self,
        flat: PixelValues,
        shape: Shape,
        distance: PixelValues,
        window: tuple[slice, slice],
        finish: Finish,
    ) -> PixelValues:
        """Compute the surface's colour under the light, (3, h, w)."""
        left, top, right, bottom = shape.bounds
        x, y = self._x[window], self._y[window]
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        half_x, half_y = (right - left) / 2, (bottom - top) / 2
        light: PixelValues = np.ones(1, dtype=np.float32)
        if finish.shade:
            tilt = finish.shade * self.light.strength
            slope_x, slope_y = tilt * self._light_x / half_x, tilt * self._light_y / half_y
            light = light + (x - middle_x) * slope_x + (y - middle_y) * slope_y
        if finish.rim:
            edge = np.maximum(1 + distance * (2.2 / min(half_x, half_y)), 0)
            light = light - (finish.rim * self.light.strength) * np.minimum(edge * edge, 1)
        if finish.grain:
            light = light + self._noise[window] * finish.grain
        lit = flat * light
        if finish.gloss:
            u = (x - middle_x - self._light_x * half_x * 0.42) * (3.2 / half_x)
            v = (y - middle_y - self._light_y * half_y * 0.42) * (3.2 / half_y)
            spot = np.maximum(1 - u * u - v * v, 0)
            lit = lit + (finish.gloss * self.light.strength) * spot
        return np.minimum(np.maximum(lit, 0), 1)


class SceneCanvas:
    """A picture being put together.

    Args:
        background: The ground to start from, (3, H, W), 0..1; it is painted over.
        noise: (H, W), -1..1.
        light: The picture's light.

    Attributes:
        pixels: (3, H, W), 0..1.
        noise: (H, W), -1..1, the unevenness of every surface in this picture.
        owner: int8 (H, W); -1 for background and decoration, else the index given to `lay`.
    """

    def __init__(self, background: PixelValues, noise: PixelValues, light: Light) -> None:
        self.pixels, self.noise, self.light = background, noise, light
        self.size = background.shape[-1]
        self.owner = np.full((self.size, self.size), -1, dtype=np.int8)

    def lay(self, pen: Pen, owner: int = -1) -> None:
        """Lay a drawn object over the picture, with its soft shadow below it.

        Args:
            pen: The pen that has drawn the object.
            owner: The object's index; -1 is decoration.
        """
        alpha = pen.layer[3]
        pixels = self.pixels[:, pen.region[0], pen.region[1]]
        pixels *= (1 - alpha) * (1 - self.light.shadow * self._shadow(alpha, pen.pose.scale))
        pixels += pen.layer[:3]
        self.owner[pen.region][alpha > 0.5] = owner

    def _shadow(self, alpha: PixelValues, scale: float) -> PixelValues:
        """Compute the shadow's darkness, 0..1: the outline, shifted from the light and blurred."""
        reach = SHADOW_REACH / 2 * scale
        right, down = round(-self.light.x * reach), round(-self.light.y * reach)
        outline = Image.fromarray(quantised(alpha))
        shifted = Image.new("L", outline.size)
        shifted.paste(outline, (right, down))
        soft = shifted.filter(ImageFilter.GaussianBlur(reach * 0.5))
        return np.asarray(soft, dtype=np.float32) * np.float32(1 / 255)


def quantised(values: PixelValues) -> NDArray[np.uint8]:
    """Round numbers 0..1 to bytes 0..255; what lies outside is cut off."""
    return (np.minimum(np.maximum(values, 0), 1) * 255 + 0.5).astype(np.uint8)


def cutting(
    reduced: Callable[[int], Image.Image], size: int, corner: Point, share: float
) -> Image.Image:
    """Scale a square piece of a tile to (size, size): the same piece at every size.

    Args:
        reduced: Returns the tile made smaller by a whole factor; its side is TILE_SIDE / factor.
        size: Side of the result, pixels.
        corner: The piece's left and top edge, as shares of the tile's side.
        share: The piece's side, as a share of the tile's side.
    """
    tile = reduced(max(1, int(TILE_SIDE * share / (1.2 * size))))
    left, top, reach = corner[0] * tile.width, corner[1] * tile.height, share * tile.width
    right, bottom = min(left + reach, tile.width), min(top + reach, tile.height)
    return tile.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))


@functools.cache
def _noise_tile(by: int) -> Image.Image:
    """Draw cloudy noise of several octaves, 8 bits, mean about 128, reduced by a whole factor."""
    if by > 1:
        return _noise_tile(1).reduce(by)
    draw = np.random.Generator(np.random.PCG64(20140906)).random  # the paper's conference day
    total = np.zeros((TILE_SIDE, TILE_SIDE))
    for octave, weight in ((16, 0.5), (32, 0.8), (64, 1.0), (128, 0.9), (256, 0.6)):
        lattice = Image.fromarray((draw((octave, octave)) * 255).astype(np.uint8))
        smooth = lattice.resize(total.shape, Image.Resampling.BICUBIC)
        total += weight * (np.asarray(smooth, dtype=np.float64) - 127.5)
    spread = np.clip(total / (3 * total.std()), -1, 1)
    return Image.fromarray((127.5 + 127.5 * spread).astype(np.uint8))


def noise(size: int, dice: Rng, share: float = 0.5) -> PixelValues:
    """Take a random piece of the noise tile.

    Args:
        size: Side of the result, pixels.
        dice: The random choices.
        share: The piece's side, as a share of the tile's side.

    Shape:
        The result: (size, size), -1..1.
    """
    corner = dice.between(0, 1 - share), dice.between(0, 1 - share)
    piece = cutting(_noise_tile, size, corner, share)
    return np.asarray(piece, dtype=np.float32) * np.float32(2 / 255) - 1
