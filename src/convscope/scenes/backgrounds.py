"""The backgrounds of the rendered scenes. Functions here are random generator -> texture tile.

Each kind of ground is drawn once per process as a large RGB tile; a picture takes a random piece
of it, at a random magnification, mirrored or not, in its own tint and light. The piece is a share
of the tile, not a number of pixels, so a scene has the same ground at every size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from convscope.scenes.canvas import TILE_SIDE, Light, cutting
from convscope.scenes.rng import Rng, hsv
from convscope.scenes.shapes import PixelValues

Plane = NDArray[np.float64]  # (SIDE, SIDE), or (SIDE, SIDE, 3) for colours 0..255

SIDE = TILE_SIDE
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)


def background(kind: str, size: int, dice: Rng, light: Light) -> PixelValues:
    """Draw a random piece of one kind of ground.

    Args:
        kind: One of KINDS.
        size: Side of the picture, pixels.
        dice: The random choices.
        light: The picture's light.

    Shape:
        The result: (3, size, size), 0..1.
    """
    share = dice.between(0.30, 0.52)
    corner = dice.between(0, 1 - share), dice.between(0, 1 - share)
    mirrored, blur = dice.chance(0.5), dice.between(-0.006, 0.009)
    piece = cutting(functools.partial(_tile, kind), size, corner, share)
    if mirrored:
        piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if blur > 0:
        piece = piece.filter(ImageFilter.BoxBlur(blur * size))
    pixels = np.asarray(piece, dtype=np.float32).transpose(2, 0, 1) * np.float32(1 / 255)
    return _tinted(pixels, dice, free=kind in PAINTED) * _falloff(size, dice, light)


def _tinted(pixels: PixelValues, dice: Rng, free: bool) -> PixelValues:
    """Give the ground this picture's colours: painted grounds take any, others vary a little."""
    bright = dice.between(0.82, 1.24)
    gains = [bright * dice.between(0.90, 1.10) for _ in range(3)]
    hue, saturation, mixture = dice.between(0, 1), dice.between(0.05, 0.6), dice.between(-0.3, 0.8)
    pale = dice.between(0.0, 0.28)
    grey = pixels[0] * 0.35 + pixels[1] * 0.45 + pixels[2] * 0.2
    if free and mixture > 0:
        paint = np.array(hsv(hue, saturation, 1.15), dtype=np.float32)[:, None, None]
        pixels = pixels + (grey * paint - pixels) * mixture
    pixels = pixels + (grey - pixels) * pale
    tinted: PixelValues = pixels * np.array(gains, dtype=np.float32)[:, None, None]
    return tinted


def _falloff(size: int, dice: Rng, light: Light) -> PixelValues:
    """Light the ground: more on the light's side, less in the corners, (size, size)."""
    steps = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - 1
    slope, corner = dice.between(0.0, 0.22) * light.strength, dice.between(0.0, 0.10)
    down, right = steps[:, None], steps[None, :]
    across = 1 + right * (slope * light.x) - right * right * corner
    along = down * (slope * light.y) - down * down * corner
    return across + along


@functools.cache
def _tile(kind: str, by: int) -> Image.Image:
    """Draw the tile of one kind of ground, or its reduction by a whole factor, once per process."""
    if by > 1:
        return _tile(kind, 1).reduce(by)
    # the generator depends on the kind's name alone, so a new kind changes no other
    generator = np.random.Generator(np.random.PCG64(list(kind.encode())))
    return DRAWN[kind](generator)


def _clouds(generator: np.random.Generator, down: int, right: int) -> Plane:
    """Draw smooth noise, -1..1, with that many lattice cells down and right, (SIDE, SIDE)."""
    lattice = Image.fromarray((generator.random((down, right)) * 255).astype(np.uint8))
    smooth = lattice.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float64) / 127.5 - 1


def _fractal(generator: np.random.Generator, down: int, right: int, octaves: int) -> Plane:
    """Add up noise of finer and finer cells, each at 0.55 of the one before, (SIDE, SIDE)."""
    layers = [_clouds(generator, down << i, right << i) * 0.55**i for i in range(octaves)]
    return sum(layers[1:], layers[0])


def _between(first: tuple[int, int, int], second: tuple[int, int, int], weight: Plane) -> Plane:
    """Mix two colours, from the first (weight 0) to the second (weight 1), (SIDE, SIDE, 3)."""
    weight = np.clip(weight, 0, 1)[..., None]
    return np.array(first) * (1 - weight) + np.array(second) * weight


def _picture(pixels: Plane) -> Image.Image:
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def grass(generator: np.random.Generator) -> Image.Image:
    """Draw grass: blades from the shaded ones below to the lit ones above."""
    ground = _picture(_between((28, 52, 14), (62, 88, 26), 0.5 + _fractal(generator, 6, 6, 3)))
    tile = ground.resize((2 * SIDE, 2 * SIDE))
    pen = ImageDraw.Draw(tile)
    patches = _fractal(generator, 5, 5, 2)
    for depth in np.linspace(0.25, 1, 9000):  # from the shaded blades below to the lit ones above
        x, y, lean, tone, long = generator.random(5)
        x, y = x * 2 * SIDE, y * 2.1 * SIDE
        patch = patches[min(int(y / 2), SIDE - 1), min(int(x / 2), SIDE - 1)]
        light = 1.2 * depth * (0.75 + 0.35 * tone) * (1 + 0.28 * patch)
        colour = (int((88 + 50 * tone) * light), int(152 * light), int((38 + 20 * tone) * light))
        length, sway = 26 + 44 * long, (lean - 0.5) * 44
        bend = (x + sway * 0.3, y - length * 0.6)
        pen.line([(x, y), bend, (x + sway, y - length)], fill=colour, width=3)
    return tile.reduce(2)


def brick(generator: np.random.Generator) -> Image.Image:
    """Draw a brick wall, whose mortar lies deeper."""
    high, wide, mortar = 32, 84, 5.0
    course = np.floor(ROWS / high)
    along = COLUMNS + (course % 2) * wide / 2 + 7 * np.sin(course * 5)
    number = (course * 31 + np.floor(along / wide) * 17).astype(np.int64) % 97
    tone = generator.random((97, 2))[number]  # each brick's own shade and redness
    down, right = ROWS % high, along % wide
    edge = np.minimum(np.minimum(down, high - down), np.minimum(right, wide - right))
    edge = edge + 1.6 * _clouds(generator, 64, 64)
    clay = _between((128, 58, 42), (196, 108, 78), tone[..., 0] + 0.22 * _clouds(generator, 90, 90))
    clay[..., 0] += 24 * (tone[..., 1] - 0.5)
    clay *= (1 + 0.14 * _fractal(generator, 60, 60, 3))[..., None]
    clay *= (1.06 - 0.22 * (down / high) ** 3)[..., None]
    joint = _between((178, 170, 158), (206, 200, 190), 0.5 + _clouds(generator, 120, 120))
    inside = np.clip((edge - mortar / 2) / 2, 0, 1)[..., None]
    shadow = np.where(down < mortar / 2 + 3, 0.72, 1.0)[..., None]  # mortar lies deeper
    return _picture(joint * shadow * (1 - inside) + clay * inside)


def mesh(generator: np.random.Generator) -> Image.Image:
    """Draw a wire fence before something out of focus."""
    behind = _between((44, 58, 50), (128, 136, 112), 0.5 + 0.6 * _fractal(generator, 5, 5, 2))
    pitch = 46
    sway = 2.2 * _clouds(generator, 9, 9)
    pixels = behind
    for slant in (1, -1):
        across = (COLUMNS + slant * ROWS * 0.92 + sway) % pitch - pitch / 2
        wire = np.clip(1 - (np.abs(across) - 2.6) / 1.3, 0, 1)[..., None]
        round_light = np.clip(1 - ((across + 1.0) / 3.2) ** 2, 0, 1)
        steel = _between((92, 98, 102), (226, 230, 228), round_light)
        drop = np.clip(1 - np.abs(across - 5) / 5, 0, 1)[..., None]
        pixels = pixels * (1 - 0.35 * drop)
        pixels = pixels * (1 - wire) + steel * wire
    return _picture(pixels)


def waves(generator: np.random.Generator) -> Image.Image:
    """Draw water with crests of foam."""
    bend = 26 * _fractal(generator, 4, 3, 2)
    swell = np.sin((ROWS + bend) * 0.155) + 0.55 * np.sin((ROWS * 1.0 - 1.4 * bend) * 0.29 + 1)
    swell = 0.5 + 0.26 * swell + 0.30 * _fractal(generator, 30, 9, 3)
    crest = np.clip((swell - 0.80) * 4, 0, 1) * (0.65 + 0.35 * _clouds(generator, 90, 30))
    water = _between((14, 62, 98), (72, 164, 186), swell)
    return _picture(water + crest[..., None] * (np.array((226, 240, 242)) - water))


def sky(generator: np.random.Generator) -> Image.Image:
    """Draw a blue sky with clouds."""
    blue = _between((62, 128, 208), (148, 198, 236), ROWS / SIDE + 0.1 * _clouds(generator, 3, 3))
    billow = _fractal(generator, 6, 4, 5)
    cloud = np.clip(billow * 1.25 - 0.02, 0, 1) ** 0.8
    under = np.clip(0.75 + 0.5 * np.roll(billow, 14, axis=0) - 0.35 * billow, 0, 1)
    white = _between((168, 178, 196), (252, 252, 252), 1.2 - 0.6 * under)
    return _picture(blue + cloud[..., None] * (white - blue))


def sand(generator: np.random.Generator) -> Image.Image:
    """Draw rippled sand."""
    bend = 24 * _fractal(generator, 3, 3, 2)
    ripple = np.sin((ROWS + 0.35 * COLUMNS + bend) * 0.21 + 1.6 * _clouds(generator, 6, 6))
    grain = generator.random((SIDE, SIDE)) - 0.5
    light = 0.5 + 0.22 * ripple + 0.32 * grain + 0.18 * _fractal(generator, 12, 12, 3)
    return _picture(_between((164, 130, 88), (238, 212, 164), light))


def coloured_noise(generator: np.random.Generator) -> Image.Image:
    """Draw coloured noise of several grains, like a badly tuned screen."""
    channels = []
    for _ in range(3):
        coarse = _clouds(generator, 40, 40) + _clouds(generator, 90, 90)
        channels.append(128 + 44 * coarse + 70 * (generator.random((SIDE, SIDE)) - 0.5))
    return _picture(np.stack(channels, axis=-1))


def wood(generator: np.random.Generator) -> Image.Image:
    """Draw planks of wood."""
    plank = 74
    board = np.floor(ROWS / plank).astype(np.int64)
    tone = generator.random((8, 2))[board]
    bend = 12 * _clouds(generator, 7, 5)
    lines = np.sin((ROWS + bend) * 0.42 + 9 * tone[..., 1] + 3 * _clouds(generator, 30, 3))
    fibre = _clouds(generator, 220, 7)
    light = 0.42 + 0.36 * (tone[..., 0] - 0.5) + 0.15 * lines + 0.20 * fibre
    pixels = _between((98, 60, 32), (214, 164, 106), light)
    down = ROWS % plank
    seam = np.clip(1.6 - np.minimum(down, plank - down) / 2.2, 0, 1)
    return _picture(pixels * (1 - 0.72 * seam[..., None]))


def leaves(generator: np.random.Generator) -> Image.Image:
    """Draw a cover of leaves, from the shaded ones below to the lit ones above."""
    tile = Image.new("RGB", (2 * SIDE, 2 * SIDE), (26, 30, 14))
    pen = ImageDraw.Draw(tile)
    for depth in np.linspace(0.30, 1, 2600):
        x, y, turn, long, tone, hue = generator.random(6)
        x, y, turn = x * 2 * SIDE, y * 2 * SIDE, turn * 2 * math.pi
        length, half = 38 + 30 * long, 11 + 8 * long
        cos, sin = math.cos(turn), math.sin(turn)
        bend = [(0, 0), (0.25, 0.75), (0.5, 1), (0.78, 0.6), (1, 0)]
        side = [(length * a, half * b) for a, b in bend]
        rim = side + [(a, -b) for a, b in reversed(side[1:-1])]
        points = [(x + cos * a - sin * b, y + sin * a + cos * b) for a, b in rim]
        light = depth * (0.72 + 0.4 * tone)
        red, green, blue = hsv(0.20 + 0.13 * hue, 0.62, 0.72 * light)
        colour = (int(red * 255), int(green * 255), int(blue * 255))
        dark = (int(red * 150), int(green * 165), int(blue * 150))
        pen.polygon([(a + 3, b + 5) for a, b in points], fill=(16, 22, 10))
        pen.polygon(points, fill=colour, outline=dark)
        pen.line([(x, y), (x + cos * length, y + sin * length)], fill=dark, width=2)
    return tile.reduce(2)


def tiles(generator: np.random.Generator) -> Image.Image:
    """Draw glazed tiles in a checkerboard."""
    pitch = 56
    number = (np.floor(ROWS / pitch) + np.floor(COLUMNS / pitch)).astype(np.int64)
    down, right = ROWS % pitch, COLUMNS % pitch
    edge = np.minimum(np.minimum(down, pitch - down), np.minimum(right, pitch - right))
    check = 0.15 + 0.7 * (number % 2) + 0.12 * _fractal(generator, 16, 16, 2)
    glaze = _between((96, 116, 138), (226, 226, 216), check)
    glaze *= (1.08 - 0.16 * (down + right) / (2 * pitch))[..., None]
    grout = np.clip((edge - 1.6) / 1.6, 0, 1)[..., None]
    return _picture(np.array((128, 124, 118)) * (1 - grout) + glaze * grout)


def stone(generator: np.random.Generator) -> Image.Image:
    """Draw cobbles: each pixel belongs to the nearest of the jittered points of a lattice."""
    pitch, count = 40, SIDE // 40 + 3
    jitter = 0.15 + 0.7 * generator.random((count, count, 2))
    tones = generator.random((count, count))
    row, column = np.floor(ROWS / pitch).astype(int), np.floor(COLUMNS / pitch).astype(int)
    wobble = 3.0 * _clouds(generator, 40, 40)
    nearest, second = np.full((2, SIDE, SIDE), 1e9)
    tone = np.zeros((SIDE, SIDE))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            r, c = row + down, column + right
            point = jitter[r + 1, c + 1]
            dy, dx = ROWS - (r + point[..., 0]) * pitch, COLUMNS - (c + point[..., 1]) * pitch
            reach = np.sqrt(dx * dx + dy * dy) + wobble
            closer = reach < nearest
            second = np.where(closer, nearest, np.minimum(second, reach))
            tone = np.where(closer, tones[r + 1, c + 1], tone)
            nearest = np.where(closer, reach, nearest)
    dome = np.clip((second - nearest) / 14, 0, 1)
    shade = 0.25 + 0.5 * tone + 0.14 * _fractal(generator, 40, 40, 3)
    cobble = _between((88, 86, 84), (190, 182, 170), shade) * (0.35 + 0.65 * dome)[..., None] ** 0.7
    lit = 1 + 0.5 * (np.roll(dome, -2, axis=0) - np.roll(dome, 2, axis=0))
    return _picture(cobble * lit[..., None])


def stripes(generator: np.random.Generator) -> Image.Image:
    """Draw a striped curtain in folds."""
    bend = 7 * _clouds(generator, 3, 8)
    along = COLUMNS + bend
    band = np.clip(2.2 * np.sin(along * (2 * math.pi / 44)) + 0.5, 0, 1)
    cloth = _between((202, 72, 76), (238, 230, 214), band)
    fold = 0.86 + 0.17 * np.sin(along * (2 * math.pi / 97) + 1.2 * _clouds(generator, 2, 5))
    weave = 1 + 0.05 * (generator.random((SIDE, SIDE)) - 0.5)
    return _picture(cloth * (fold * weave)[..., None])


DRAWN: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "grass": grass,
    "brick": brick,
    "mesh": mesh,
    "waves": waves,
    "sky": sky,
    "sand": sand,
    "noise": coloured_noise,
    "wood": wood,
    "leaves": leaves,
    "tiles": tiles,
    "stone": stone,
    "stripes": stripes,
}
KINDS = tuple(DRAWN)
PAINTED = frozenset({"brick", "mesh", "noise", "tiles", "stone", "stripes"})
