"""The classes of the `transfer` split. Functions here are (pen, dice) -> named points.

As in `scene_creatures`, and drawn with the same pen, but of classes that no other split shows: new
wholes of old and new parts, to ask what features learned on the others are worth here.
"""

from __future__ import annotations

import math

from convscope.scenes.canvas import FLAT, FUR, GLOSSY, LEAFY, MATTE, Finish, Parts, Pen
from convscope.scenes.creatures import COATS, PINK, glint
from convscope.scenes.rng import BLACK, WHITE, Colour, Rng, darker, hsv
from convscope.scenes.shapes import (
    Point,
    Shape,
    arc,
    around,
    box,
    circle,
    drop,
    ellipse,
    fused,
    polygon,
    stroke,
    strokes,
)
from convscope.scenes.things import LACQUER, STEEL


def cat(pen: Pen, dice: Rng) -> Parts:
    """Draw a cat's face from the front: pointed ears, slit eyes, a small nose, whiskers."""
    coat = dice.near(dice.pick(COATS), 0.025)
    dark = darker(coat, dice.between(0.3, 0.6))
    wide, yaw = dice.between(0.66, 0.76), dice.between(-0.10, 0.10)
    for side in (-1, 1):
        tip = (side * dice.between(0.60, 0.72), -0.95)
        ear = [(side * 0.12, -0.40), tip, (side * wide, -0.10)]
        inner = [(side * 0.26, -0.42), (tip[0] * 0.95, -0.78), (side * wide * 0.90, -0.22)]
        pen.paint(polygon(ear, 0.03), coat, FUR, [(polygon(inner), darker(PINK, 0.1))])
    lines = [(yaw + x, -0.62, yaw + x * 0.8, -0.38) for x in (-0.2, 0.0, 0.2)]
    lines += [(s * wide, y, s * (wide - 0.26), y + 0.03) for s in (-1, 1) for y in (0.1, 0.26)]
    marks: list[tuple[Shape, Colour]] = [(strokes(lines, 0.09), dark)] if dice.chance(0.6) else []
    if dice.chance(0.5):
        marks.append((ellipse(yaw * 1.3, 0.42, 0.36, 0.32), WHITE))
    pen.paint(ellipse(0, 0.05, wide, 0.60), coat, FUR, marks)

    eyes = {"left eye": (yaw - 0.31, -0.06), "right eye": (yaw + 0.31, -0.06)}
    iris = dice.pick(((0.55, 0.75, 0.25), (0.93, 0.75, 0.20), (0.35, 0.65, 0.85)))
    slit = dice.between(0.03, 0.08)
    for side, (x, y) in zip((-1, 1), eyes.values(), strict=True):
        pen.paint(ellipse(x, y, 0.185, 0.145, side * -0.25), BLACK, FLAT)
        pupil = [(ellipse(x, y, slit, 0.12), BLACK), (glint(x, y, 0.12), WHITE)]
        pen.paint(ellipse(x, y, 0.155, 0.12, side * -0.25), iris, Finish(shade=0.2), pupil)
    nose = (yaw * 1.4, 0.24)
    x, y = nose
    pen.paint(
        polygon([(x - 0.09, y - 0.05), (x + 0.09, y - 0.05), (x, y + 0.06)], 0.025), PINK, MATTE
    )
    smile = stroke([(x - 0.2, 0.43), (x - 0.1, 0.47), (x, 0.36)], 0.04)
    smile |= stroke([(x, 0.28), (x, 0.36), (x + 0.1, 0.47), (x + 0.2, 0.43)], 0.04)
    pen.paint(smile, BLACK, FLAT)
    hairs = [
        (x + s * 0.22, 0.36 + d, x + s * 0.92, 0.26 + 3 * d) for s in (-1, 1) for d in (0, 0.05)
    ]
    pen.paint(strokes(hairs, 0.025), darker(WHITE, 0.1) if sum(coat) < 2 else BLACK, FLAT)
    return {**eyes, "nose": nose}


def tree(pen: Pen, dice: Rng) -> Parts:
    """Draw a broad-leaved tree or a fir."""
    green = hsv(dice.between(0.17, 0.40), dice.between(0.45, 0.8), dice.between(0.35, 0.7))
    if dice.chance(0.25):
        green = hsv(dice.between(0.02, 0.12), 0.75, dice.between(0.6, 0.85))  # autumn
    bark = dice.near((0.40, 0.28, 0.18), 0.06)
    pen.paint(drop((0, 1.0), (0, 0.1), 0.15, 0.09), bark, Finish(0.5, 0.3, 0, 0.4, 0.04))
    if dice.chance(0.35):
        for high, half in ((0.55, 0.62), (0.15, 0.52), (-0.25, 0.38)):
            tier = [(-half, high), (0, high - 0.72), (half, high)]
            pen.paint(polygon(tier, 0.04), darker(green, 0.15), LEAFY)
        return {"crown": (0.0, -0.2), "trunk": (0.0, 0.85)}
    boughs = [(0.0, -0.45, 0.46), (-0.36, -0.12, 0.38), (0.36, -0.14, 0.38), (0.0, 0.02, 0.36)]
    for x, y, r in boughs:
        crown = circle(x + dice.between(-0.06, 0.06), y, r * dice.between(0.92, 1.1))
        pen.paint(crown, darker(green, dice.between(-0.06, 0.10)), LEAFY)
    return {"crown": (0.0, -0.25), "trunk": (0.0, 0.75)}


def mushroom(pen: Pen, dice: Rng) -> Parts:
    """Draw a toadstool: a spotted cap on a pale stem."""
    cap = dice.vivid() if dice.chance(0.6) else dice.near((0.60, 0.42, 0.28), 0.12)
    pale = dice.near((0.93, 0.89, 0.80), 0.05)
    high, wide = dice.between(0.62, 0.82), dice.between(0.72, 0.92)
    pen.paint(drop((0, 0.0), (0, 0.78), 0.17, dice.between(0.20, 0.28)), pale, MATTE)
    pen.paint(ellipse(0, 0.06, wide * 0.72, 0.14), darker(pale, 0.25), MATTE)
    dome = ellipse(0, 0.05, wide, high) - ellipse(0, 0.42, wide * 1.3, 0.42)
    roof = Shape(dome.distance, (-wide, 0.05 - high, wide, 0.12))
    spots = [
        (-0.5, -0.16),
        (-0.18, -0.42),
        (0.22, -0.30),
        (0.52, -0.12),
        (-0.14, -0.10),
        (0.2, -0.58),
    ]
    marks: list[tuple[Shape, Colour]] = []
    if dice.chance(0.75):
        marks = [(ellipse(x * wide, y * high / 0.7, 0.11, 0.085), WHITE) for x, y in spots]
    pen.paint(roof, cap, Finish(shade=0.4, rim=0.3, gloss=0.35, contact=0.35), marks)
    return {"cap": (0.0, -0.3), "stem": (0.0, 0.55)}


def apple(pen: Pen, dice: Rng) -> Parts:
    """Draw an apple with its stalk and a leaf."""
    hue = dice.pick((0.0, 0.02, 0.12, 0.22, 0.28)) + dice.between(-0.02, 0.02)
    skin = hsv(hue, dice.between(0.65, 0.9), dice.between(0.6, 0.92))
    blush = dice.near(skin, 0.10)
    halves = fused(ellipse(-0.28, 0.12, 0.50, 0.66), ellipse(0.28, 0.12, 0.50, 0.66), 0.10)
    streaks = strokes([(0, -0.4, *p) for p in around(0, 0.2, 0.75, 11)], 0.07)
    pen.paint(halves, skin, Finish(0.40, 0.35, 0.7, 0.08), [(streaks, blush)])
    pen.paint(ellipse(0, -0.40, 0.20, 0.07), darker(skin, 0.55), Finish(shade=0.3))
    lean = dice.between(-0.15, 0.15)
    stalk = (lean * 0.6, -0.62)
    pen.paint(stroke([(0, -0.38), stalk, (lean, -0.82)], 0.075), (0.35, 0.22, 0.12), MATTE)
    green = hsv(dice.between(0.25, 0.36), 0.7, dice.between(0.4, 0.7))
    leaf = ellipse(0.34, -0.66, 0.30, 0.12, -0.35)
    pen.paint(
        leaf, green, MATTE, [(stroke([(0.08, -0.58), (0.55, -0.73)], 0.03), darker(green, 0.4))]
    )
    return {"stalk": stalk, "leaf": (0.34, -0.66), "skin": (0.0, 0.2)}


def clock(pen: Pen, dice: Rng) -> Parts:
    """Draw a clock: ticks and two hands in a round or square case, sometimes with bells."""
    case, face = dice.any_colour(), dice.near((0.95, 0.94, 0.89), 0.04)
    radius = 0.86
    if dice.chance(0.35):
        for side in (-1, 1):
            pen.paint(circle(side * 0.52, -0.72, 0.26), darker(case, 0.1), GLOSSY)
            pen.paint(
                drop((side * 0.5, 0.7), (side * 0.66, 0.96), 0.08, 0.07), darker(case, 0.2), MATTE
            )
    square = dice.chance(0.3)
    body = box(-0.84, -0.84, 0.84, 0.84, 0.18) if square else circle(0, 0, radius)
    ticks = zip(around(0, 0, 0.60, 12), around(0, 0, 0.68, 12), strict=True)
    marks: list[tuple[Shape, Colour]] = [
        (circle(0, 0, 0.72), face),
        (strokes([(*a, *b) for a, b in ticks], 0.055), BLACK),
    ]
    pen.paint(body, case, GLOSSY, marks)
    hour, minute = dice.between(0, 6.28), dice.between(0, 6.28)
    short = (0.34 * math.cos(hour), 0.34 * math.sin(hour))
    long = (0.54 * math.cos(minute), 0.54 * math.sin(minute))
    hands = stroke([(0, 0), short], 0.11) | stroke([(0, 0), long], 0.07)
    pen.paint(hands, dice.pick((BLACK, darker(dice.vivid(), 0.3))), Finish(contact=0.3))
    pen.paint(circle(0, 0, 0.075), darker(case, 0.3), FLAT)
    return {"centre": (0.0, 0.0), "long hand": long, "short hand": short}


def boat(pen: Pen, dice: Rng) -> Parts:
    """Draw a sailing boat: hull, mast, two sails."""
    hull, sail = dice.any_colour(), darker(dice.any_colour(), -dice.between(0.3, 0.85))
    second = sail if dice.chance(0.5) else dice.vivid()
    mast = dice.between(-0.12, 0.08)
    pen.paint(stroke([(mast, 0.4), (mast, -0.98)], 0.055), (0.45, 0.32, 0.2), MATTE)
    large = [(mast + 0.06, -0.90), (mast + 0.06, 0.22), (mast + dice.between(0.62, 0.78), 0.22)]
    small = [(mast - 0.06, -0.72), (mast - 0.06, 0.22), (mast - dice.between(0.45, 0.62), 0.22)]
    seams = strokes([(-1, y, 1, y) for y in (-0.45, -0.12)], 0.035)
    for points, colour in ((large, sail), (small, second)):
        pen.paint(
            polygon(points, 0.02),
            colour,
            Finish(shade=0.35, rim=0.15, contact=0.2),
            [(seams, darker(colour, 0.2))],
        )
    shape = [(-0.86, 0.36), (0.94, 0.36), (0.62, 0.80), (-0.60, 0.80)]
    line: list[tuple[Shape, Colour]] = [
        (box(-1, 0.45, 1, 0.53), WHITE),
        (box(-1, 0.70, 1, 1), darker(hull, 0.5)),
    ]
    pen.paint(polygon(shape, 0.03), hull, LACQUER, line)
    return {"mast": (mast, -0.3), "sail": (mast + 0.26, -0.1), "hull": (0.0, 0.58)}


def umbrella(pen: Pen, dice: Rng) -> Parts:
    """Draw an open umbrella: a scalloped half dome of coloured segments, a stick with a hook."""
    first, second = dice.vivid(), dice.vivid() if dice.chance(0.7) else WHITE
    hook = [(0.0, 0.0), (0.0, 0.68), *arc(-0.14, 0.72, 0.14, 0.0, math.pi)]
    pen.paint(stroke([(0, -0.92), (0, -0.7)], 0.06), STEEL, MATTE)
    pen.paint(stroke(hook, 0.085), dice.pick(((0.4, 0.25, 0.15), BLACK)), MATTE)
    dome = ellipse(0, 0.0, 0.97, dice.between(0.70, 0.86))
    scallops = [ellipse(x, 0.06, 0.17, 0.15) for x in (-0.80, -0.48, -0.16, 0.16, 0.48, 0.80)]
    below = box(-1.2, 0.02, 1.2, 1.2)
    for scallop in scallops:
        below |= scallop
    canopy = Shape((dome - below).distance, (-0.97, -0.86, 0.97, 0.06))
    marks: list[tuple[Shape, Colour]] = []
    for half, colour in ((0.66, second), (0.32, first)):
        rib = ellipse(0, 0.05, half, 0.92)
        marks.append((rib, colour))
    pen.paint(canopy, first, Finish(shade=0.4, rim=0.25, contact=0.3), marks)
    return {"canopy": (0.0, -0.35), "handle": (-0.14, 0.84), "tip": (0.0, -0.85)}


def bicycle(pen: Pen, dice: Rng) -> Parts:
    """Draw a bicycle from the side: two spoked wheels, frame, saddle, handlebar."""
    paint, tyre = dice.vivid(), darker((0.3, 0.3, 0.3), dice.between(0.2, 0.8))
    size = dice.between(0.40, 0.45)
    back, front = (-0.56, 0.38), (0.56, 0.38)
    for x, y in (back, front):
        rays = [(x, y, *p) for p in around(x, y, size, 8, dice.between(0, 1))]
        pen.paint(strokes(rays, 0.022), darker(STEEL, 0.1), FLAT)
        pen.paint(circle(x, y, size).outline(0.10), tyre, Finish(shade=0.3, contact=0.1))
        pen.paint(circle(x, y, 0.07), STEEL, FLAT)
    crank, seat, head = (-0.08, 0.40), (-0.24, -0.24), (0.40, -0.26)
    frame = [(*back, *crank), (*crank, *head), (*crank, *seat), (*seat, *head), (*seat, *back)]
    pen.paint(strokes([*frame, (*head, *front)], 0.085), paint, Finish(shade=0.3, contact=0.3))
    stem: Point = (0.36, -0.52)
    pen.paint(
        strokes([(*head, *stem), (*stem, 0.58, -0.50), (*stem, 0.24, -0.54)], 0.08),
        darker(STEEL, 0.2),
        MATTE,
    )
    pen.paint(strokes([(*seat, -0.28, -0.42)], 0.07), STEEL, MATTE)
    pen.paint(ellipse(-0.28, -0.46, 0.20, 0.07), BLACK, MATTE)
    pen.paint(circle(*crank, 0.11).outline(0.05), darker(STEEL, 0.3), FLAT)
    return {"front wheel": front, "back wheel": back, "saddle": (-0.28, -0.46), "handlebar": stem}
