"""The made things of the rendered scenes. Functions here are (pen, dice) -> named points.

As in `scene_creatures`: each draws one object in its own coordinates (x right, y down, within
about -1..1) and returns where its named parts are.
"""

from __future__ import annotations

import math
from itertools import pairwise

from convscope.scenes.canvas import FLAT, LEAFY, MATTE, Finish, Parts, Pen
from convscope.scenes.rng import BLACK, WHITE, Colour, Rng, darker, hsv
from convscope.scenes.shapes import (
    Shape,
    around,
    box,
    circle,
    drop,
    ellipse,
    polygon,
    repeated,
    strokes,
)

STEEL: Colour = (0.70, 0.72, 0.75)
GLASS: Colour = (0.60, 0.77, 0.88)
LACQUER = Finish(shade=0.40, rim=0.20, gloss=0.35, contact=0.2)

WORDS = ("STOP", "CAFE", "OPEN", "ZOO", "TAXI", "SHOP", "EXIT", "BUS", "PARK", "SALE", "TEA", "NEW")
# each letter's lines: pairs of digits, column 0..4 and row 0..6
LETTERS = {
    "A": ("062046", "1434"),
    "B": ("0600304142330", "33444536060"),
    "C": ("4130100105163645",),
    "E": ("40000646", "0333"),
    "F": ("400006", "0333"),
    "H": ("0006", "4046", "0343"),
    "I": ("2026",),
    "K": ("0006", "400346"),
    "L": ("000646",),
    "N": ("06004640",),
    "O": ("103041453616050110",),
    "P": ("06003041423303",),
    "R": ("06003041423303", "2346"),
    "S": ("413010010213334445361605",),
    "T": ("0040", "2026"),
    "U": ("000516364540",),
    "W": ("0016233640",),
    "X": ("0046", "4006"),
    "Z": ("00400646",),
}


def car(pen: Pen, dice: Rng) -> Parts:
    """Draw a car from the side: body, cabin with windows, two wheels, lights."""
    paint = dice.vivid() if dice.chance(0.65) else dice.any_colour()
    roof, low = dice.between(-0.50, -0.38), 0.30
    front, back = dice.pick(((0.30, -0.62), (0.36, -0.86), (0.42, -0.46), (0.22, -0.40)))
    waist, size = dice.between(-0.10, -0.02), dice.between(0.20, 0.25)
    wheels = {"front wheel": (0.58, 0.34), "back wheel": (-0.56, 0.34)}

    cabin = [(back, waist), (back + 0.18, roof), (front - 0.14, roof), (front + 0.24, waist)]
    pen.paint(polygon(cabin, 0.06), darker(paint, 0.05), LACQUER)
    post = back + (front - back) * dice.between(0.42, 0.55)
    panes = [
        [
            (back + 0.07, waist),
            (back + 0.20, roof + 0.05),
            (post - 0.04, roof + 0.05),
            (post - 0.04, waist),
        ],
        [
            (post + 0.04, waist),
            (post + 0.04, roof + 0.05),
            (front - 0.14, roof + 0.05),
            (front + 0.14, waist),
        ],
    ]
    tone = darker(GLASS, dice.between(0.0, 0.6))
    for pane in panes:
        pen.paint(polygon(pane), tone, Finish(shade=0.5))
    pen.paint(box(-0.98, waist, 0.98, low + 0.06, 0.15), paint, LACQUER)
    doors = strokes(
        [(post, waist + 0.03, post, low - 0.02), (-0.9, low - 0.08, 0.9, low - 0.08)], 0.03
    )
    pen.paint(
        doors | box(post + 0.07, waist + 0.10, post + 0.20, waist + 0.14), darker(paint, 0.4), FLAT
    )
    pen.paint(ellipse(0.91, waist + 0.16, 0.07, 0.07), (0.99, 0.95, 0.70), FLAT)
    pen.paint(ellipse(-0.94, waist + 0.15, 0.045, 0.08), (0.85, 0.12, 0.10), FLAT)
    spokes = dice.pick((5, 6, 8))
    for x, y in wheels.values():
        pen.paint(circle(x, y - 0.02, size + 0.06), darker(paint, 0.75), FLAT)
        rays = strokes([(x, y, *p) for p in around(x, y, size * 0.5, spokes)], 0.05)
        hub: list[tuple[Shape, Colour]] = [
            (circle(x, y, size * 0.58), STEEL),
            (rays, darker(STEEL, 0.55)),
            (circle(x, y, 0.05), WHITE),
        ]
        pen.paint(circle(x, y, size), BLACK, Finish(shade=0.3, rim=0.2), hub)
    return {**wheels, "window": ((post + front) / 2, (waist + roof) / 2)}


def sign(pen: Pen, dice: Rng) -> Parts:
    """Draw a word on a board with a border, on one post or two, or hung on a wall."""
    dark_on_pale = dice.chance(0.5)
    ground = darker(dice.any_colour(), -0.75) if dark_on_pale else darker(dice.any_colour(), 0.35)
    ink = darker(dice.any_colour(), 0.65) if dark_on_pale else darker(dice.any_colour(), -0.85)
    word = dice.pick(WORDS)
    half, tall = 0.95, dice.between(0.36, 0.50)
    posts = dice.pick(((), (0.0,), (-0.6, 0.6)))
    y = -0.30 if posts else 0.0
    for x in posts:
        wood = dice.near((0.48, 0.36, 0.25), 0.10)
        pen.paint(box(x - 0.06, y, x + 0.06, 1.0), wood, Finish(shade=0.5, rim=0.3, grain=0.2))
    corner = dice.pick((0.03, 0.12, 0.25))
    inner = box(
        -half + 0.055, y - tall + 0.055, half - 0.055, y + tall - 0.055, max(corner - 0.05, 0.01)
    )
    outer = box(-half, y - tall, half, y + tall, corner)
    rim = ink if dice.chance(0.7) else ground
    pen.paint(outer, rim, Finish(shade=0.25, rim=0.1, contact=0.3), [(inner, ground)])

    pitch = 1.62 / len(word)
    wide, high = min(pitch * 0.70, 0.36), tall * dice.between(0.98, 1.20)
    middles = [(i - (len(word) - 1) / 2) * pitch for i in range(len(word))]
    lines = []
    for letter, x in zip(word, middles, strict=True):
        for line in LETTERS[letter]:
            ends = [
                (x + (int(line[i]) / 4 - 0.5) * wide, y + (int(line[i + 1]) / 6 - 0.5) * high)
                for i in range(0, len(line) - 1, 2)
            ]
            lines += [(*a, *b) for a, b in pairwise(ends)]
    pen.paint(strokes(lines, dice.between(0.075, 0.105)), ink, FLAT)
    return {"text": (0.0, y), "first letter": (middles[0], y), "last letter": (middles[-1], y)}


def house(pen: Pen, dice: Rng) -> Parts:
    """Draw a house from the front: walls, roof, door, windows, chimney."""
    wall = darker(dice.any_colour(), -dice.between(0.1, 0.7))
    roof = dice.near(
        dice.pick(((0.66, 0.25, 0.18), (0.35, 0.30, 0.32), (0.50, 0.34, 0.22), (0.2, 0.35, 0.45))),
        0.1,
    )
    wide, eaves = dice.between(0.66, 0.86), dice.between(-0.22, 0.02)
    top = eaves - dice.between(0.50, 0.72)
    flat_top = dice.pick((0.0, 0.0, 0.4)) * wide
    side = dice.pick((-1, 1))

    chimney = box(side * 0.42 - 0.10, top + 0.02, side * 0.42 + 0.10, eaves)
    pen.paint(chimney, darker((0.60, 0.35, 0.28), dice.between(0, 0.4)), MATTE)
    boards = repeated(box(0.0, 0.0, 2.0, 0.018), 2.0, 0.13, (-wide, eaves, wide, 0.95))
    pen.paint(
        box(-wide, eaves, wide, 0.95),
        wall,
        Finish(shade=0.18, rim=0.08, grain=0.08, contact=0.3),
        [(boards, darker(wall, 0.18))],
    )
    slope = [(-wide - 0.14, eaves), (-flat_top, top), (flat_top, top), (wide + 0.14, eaves)]
    rows = repeated(box(0.0, 0.0, 4.0, 0.035), 4.0, 0.14, (-2.0, top, 2.0, eaves))
    pen.paint(
        polygon(slope, 0.03),
        roof,
        Finish(shade=0.35, rim=0.10, grain=0.25, contact=0.45),
        [(rows, darker(roof, 0.35))],
    )
    door = (dice.pick((-1, 0, 1)) * wide * 0.48, 0.65)
    x, frame = door[0], darker(WHITE, 0.05)
    tone = darker(dice.vivid(), 0.35)
    knob: list[tuple[Shape, Colour]] = [(circle(x + 0.09, 0.68, 0.035), (0.95, 0.85, 0.4))]
    pen.paint(box(x - 0.19, 0.30, x + 0.19, 0.95), frame, Finish(contact=0.2))
    pen.paint(box(x - 0.145, 0.35, x + 0.145, 0.95), tone, Finish(shade=0.25), knob)
    lit = dice.chance(0.3)
    glass = (0.99, 0.88, 0.50) if lit else darker(GLASS, dice.between(0.0, 0.5))
    places = [px * wide * 0.48 for px in (-1, 0, 1) if abs(px * wide * 0.48 - x) > 0.3]
    places = places if len(places) == 2 and door[0] == 0 else places[-2:]
    windows: Parts = {}
    for name, wx in zip(("left window", "right window"), sorted(places), strict=True):
        pen.paint(box(wx - 0.17, 0.22, wx + 0.17, 0.60), frame, Finish(contact=0.2))
        bars = strokes([(wx, 0.22, wx, 0.60), (wx - 0.17, 0.41, wx + 0.17, 0.41)], 0.04)
        pen.paint(box(wx - 0.13, 0.26, wx + 0.13, 0.56), glass, Finish(shade=0.4), [(bars, frame)])
        windows[name] = (wx, 0.41)
    return {"roof": (0.0, (eaves + top) / 2), "door": door, **windows}


def cup(pen: Pen, dice: Rng) -> Parts:
    """Draw a cup with its handle and what is in it, seen a little from above."""
    glaze = dice.any_colour() if dice.chance(0.6) else dice.near((0.94, 0.93, 0.90), 0.05)
    wide, foot, low = dice.between(0.52, 0.66), dice.between(0.34, 0.60), dice.between(0.55, 0.80)
    top, flat = -0.55, dice.between(0.13, 0.20)
    foot = min(foot, wide)
    if dice.chance(0.4):
        saucer = darker(glaze, -0.2)
        pen.paint(
            ellipse(0, low + 0.05, 0.98, 0.20),
            saucer,
            MATTE,
            [(ellipse(0, low + 0.04, 0.7, 0.12), darker(saucer, 0.1))],
        )
    grip = (wide + 0.16, dice.between(-0.08, 0.08))
    ring = ellipse(wide - 0.02, grip[1], 0.30, 0.33).outline(0.14)
    pen.paint(ring, darker(glaze, 0.08), Finish(shade=0.3, rim=0.35, contact=0.2))
    walls = polygon([(-wide, top), (wide, top), (foot, low), (-foot, low)])
    body = walls | ellipse(0, low, foot, flat * foot / wide)
    band = dice.vivid()
    marks: list[tuple[Shape, Colour]] = []
    pattern = dice.pick(("plain", "band", "dots", "stripes"))
    if pattern == "band":
        marks = [(ellipse(0, -0.9, 1.3, 1.25).outline(0.16), band)]
    elif pattern == "dots":
        marks = [
            (circle(x, y, 0.08), band)
            for x, y in ((-0.32, -0.12), (0.05, -0.05), (0.38, -0.14), (-0.16, 0.28), (0.22, 0.26))
        ]
    elif pattern == "stripes":
        marks = [
            (
                strokes(
                    [(x, top, x * foot / wide, low + 0.2) for x in (-0.4, -0.14, 0.14, 0.4)], 0.09
                ),
                band,
            )
        ]
    pen.paint(body, glaze, Finish(shade=0.45, rim=0.32, gloss=0.35, contact=0.3), marks)
    drink = dice.pick(
        ((0.25, 0.14, 0.08), (0.60, 0.38, 0.20), (0.75, 0.45, 0.15), (0.95, 0.93, 0.88))
    )
    pen.paint(ellipse(0, top, wide, flat), darker(glaze, -0.35), Finish(rim=0.1))
    pen.paint(ellipse(0, top + 0.01, wide - 0.06, flat - 0.045), darker(glaze, 0.3), FLAT)
    liquid = ellipse(0, top + 0.045, wide - 0.09, flat - 0.065)
    pen.paint(liquid, drink, Finish(shade=0.3, gloss=0.2))
    return {"handle": (wide + 0.26, grip[1]), "rim": (0.0, top), "body": (0.0, 0.1)}


def ball(pen: Pen, dice: Rng) -> Parts:
    """Draw a ball: beach ball, football, basketball, tennis ball, striped, or with a star."""
    style = dice.pick(("beach", "football", "basket", "tennis", "bands", "star"))
    first, second, radius = dice.vivid(), dice.vivid(), 0.92
    turn = dice.between(0, 6.28)
    marks: list[tuple[Shape, Colour]] = []
    if style == "beach":
        px, py = 0.35 * math.cos(turn), 0.35 * math.sin(turn)
        for i, (a, b) in enumerate(
            zip(around(px, py, 2.5, 6, turn), around(px, py, 2.5, 6, turn + 1.05), strict=True)
        ):
            marks.append(
                (
                    polygon([(px, py), a, b]),
                    (WHITE, first, WHITE, second, WHITE, (0.98, 0.8, 0.15))[i],
                )
            )
        marks.append((circle(px, py, 0.13), WHITE))
    elif style == "football":
        first = WHITE
        dark = BLACK if dice.chance(0.6) else darker(second, 0.4)
        spots = [(0.0, 0.0), *around(0, 0, 0.80, 5, turn)]
        marks.append((strokes([(0.0, 0.0, *p) for p in spots[1:]], 0.04), darker(WHITE, 0.5)))
        marks += [
            (polygon(around(*p, 0.27 if i == 0 else 0.22, 5, turn)), dark)
            for i, p in enumerate(spots)
        ]
    elif style == "basket":
        seams = strokes([(-1, 0, 1, 0), (0, -1, 0, 1)], 0.06)
        seams |= circle(-1.05, 0, 0.72).outline(0.06) | circle(1.05, 0, 0.72).outline(0.06)
        first = hsv(dice.between(0.03, 0.10), 0.8, 0.85) if dice.chance(0.6) else first
        marks.append((seams.turned(turn), BLACK))
    elif style == "tennis":
        first = hsv(dice.between(0.14, 0.22), 0.75, 0.92) if dice.chance(0.6) else first
        curve = circle(-0.95, 0, 0.70).outline(0.10) | circle(0.95, 0, 0.70).outline(0.10)
        marks.append((curve.turned(turn), WHITE))
    elif style == "bands":
        band = box(-1, -0.28, 1, 0.28) | box(-1, 0.52, 1, 0.66) | box(-1, -0.66, 1, -0.52)
        marks.append((band.turned(turn), second))
    else:
        points = around(0, 0, 0.62, 5, turn)
        star = polygon([points[0], points[2], (0.0, 0.0)])
        for i in range(1, 5):
            star |= polygon([points[i], points[(i + 2) % 5], (0.0, 0.0)])
        marks.append((star, WHITE))
        marks.append((circle(0, 0, 0.80).outline(0.07), second))
    pen.paint(
        circle(0, 0, radius), first, Finish(shade=0.45, rim=0.45, gloss=0.6, grain=0.04), marks
    )
    return {"centre": (0.0, 0.0)}


def keyboard(pen: Pen, dice: Rng) -> Parts:
    """Draw a computer keyboard from above: rows of keys and a space bar on a board."""
    dark = dice.chance(0.5)
    case = darker(dice.any_colour(), 0.6) if dark else darker(dice.any_colour(), -0.6)
    caps = dice.pick((darker(case, 0.45), darker(case, -0.35), WHITE, (0.16, 0.16, 0.18)))
    if abs(sum(caps) - sum(case)) < 0.5:
        caps = darker(case, -0.6) if sum(case) < 1.5 else darker(case, 0.65)
    columns, tall = dice.whole(8, 10), dice.between(0.42, 0.52)
    pen.paint(
        box(-1, -tall, 1, tall, dice.between(0.05, 0.12)),
        case,
        Finish(shade=0.25, rim=0.15, contact=0.4),
    )
    left, top, right, rows = -0.91, -tall + 0.09, 0.91, 4
    pitch_x, pitch_y = (right - left) / columns, (2 * tall - 0.18) / rows
    gap = 0.022
    key = box(gap, gap, pitch_x - gap, pitch_y - gap, 0.03)
    face = box(gap * 2.2, gap * 1.2, pitch_x - gap * 2.2, pitch_y - gap * 3.0, 0.02)
    bottom = top + 3 * pitch_y
    keys = repeated(key, pitch_x, pitch_y, (left, top, right, bottom)) & box(
        left, top, right, bottom
    )
    faces = repeated(face, pitch_x, pitch_y, (left, top, right, bottom))
    side = darker(caps, 0.30)
    accent = dice.vivid() if dice.chance(0.4) else caps
    escape = (left + pitch_x / 2, top + pitch_y / 2)
    enter = (right - pitch_x / 2, top + 2.5 * pitch_y)
    special = [
        (faces & box(x - pitch_x / 2, y - pitch_y / 2, x + pitch_x / 2, y + pitch_y / 2), accent)
        for x, y in (escape, enter)
    ]
    pen.paint(keys, side, Finish(shade=0.2), [(faces, caps), *special])
    space = (dice.between(-0.1, 0.1), top + 3.5 * pitch_y)
    half, y = pitch_x * columns * 0.27, bottom
    for x0, x1 in (
        (left, space[0] - half),
        (space[0] - half, space[0] + half),
        (space[0] + half, right),
    ):
        outer = box(x0 + gap, y + gap, x1 - gap, y + pitch_y - gap, 0.03)
        inner = box(x0 + gap * 2.2, y + gap * 1.2, x1 - gap * 2.2, y + pitch_y - gap * 3.0, 0.02)
        pen.paint(outer, side, Finish(shade=0.2), [(inner, caps)])
    return {"space bar": space, "escape key": escape, "enter key": enter}


def distractor(pen: Pen, dice: Rng) -> Parts:
    """Draw a small distractor: a pebble, twig, leaf, chip, ring or tuft."""
    colour, kind = dice.any_colour(), dice.pick(("pebble", "twig", "leaf", "chip", "ring", "tuft"))
    if kind == "pebble":
        pen.paint(ellipse(0, 0, 1, dice.between(0.6, 1)), darker(colour, 0.2))
    elif kind == "twig":
        pen.paint(drop((-1.8, 0), (1.8, dice.between(-0.5, 0.5)), 0.22, 0.12), darker(colour, 0.4))
    elif kind == "leaf":
        blade = circle(0, 0.9, 1.4) & circle(0, -0.9, 1.4)
        pen.paint(blade, colour, MATTE, [(box(-1.5, -0.06, 1.5, 0.06), darker(colour, 0.4))])
    elif kind == "chip":
        count = dice.whole(3, 4)
        turns = [2 * math.pi * i / count + dice.between(-0.3, 0.3) for i in range(count)]
        pen.paint(polygon([(0.9 * math.cos(a), 0.9 * math.sin(a)) for a in turns], 0.08), colour)
    elif kind == "ring":
        pen.paint(circle(0, 0, 0.75).outline(0.4), colour)
    else:
        pen.paint(circle(0, 0, 0.9), darker(colour, 0.3), LEAFY)
    return {}
