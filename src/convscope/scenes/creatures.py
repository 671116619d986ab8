"""The living things of the rendered scenes. Functions here are (pen, dice) -> named points.

Each draws one object, of its own proportions and colours, and returns where its named parts are, in
the object's own coordinates: x right, y down, the body within about -1..1. "Left" and "right" are
the viewer's; what has them is never mirrored.
"""

from __future__ import annotations

import math

from convscope.scenes.canvas import FLAT, FUR, GLOSSY, INK, MATTE, Finish, Parts, Pen
from convscope.scenes.rng import BLACK, WHITE, Colour, Rng, darker, hsv
from convscope.scenes.shapes import (
    Point,
    Shape,
    arc,
    around,
    circle,
    drop,
    ellipse,
    fused,
    polygon,
    stroke,
    strokes,
)

PINK: Colour = (0.92, 0.55, 0.58)
EYE_COLOURS: tuple[Colour, ...] = (
    (0.32, 0.19, 0.10),
    (0.22, 0.42, 0.66),
    (0.30, 0.50, 0.28),
    (0.16, 0.12, 0.10),
)
COATS: tuple[Colour, ...] = (
    (0.86, 0.66, 0.38),
    (0.58, 0.36, 0.18),
    (0.34, 0.22, 0.15),
    (0.24, 0.22, 0.23),
    (0.95, 0.92, 0.86),
    (0.62, 0.60, 0.58),
    (0.78, 0.44, 0.22),
)
SKINS: tuple[Colour, ...] = (
    (0.98, 0.84, 0.74),
    (0.94, 0.75, 0.62),
    (0.84, 0.62, 0.46),
    (0.66, 0.45, 0.31),
    (0.48, 0.31, 0.21),
    (0.36, 0.23, 0.16),
)
HAIRS: tuple[Colour, ...] = (
    (0.12, 0.09, 0.08),
    (0.30, 0.18, 0.10),
    (0.55, 0.33, 0.16),
    (0.88, 0.72, 0.40),
    (0.72, 0.32, 0.14),
    (0.80, 0.79, 0.78),
)


def dog(pen: Pen, dice: Rng) -> Parts:
    """Draw a dog's face from the front: ears, eyes, a muzzle with the nose, often a tongue."""
    coat = dice.near(dice.pick(COATS), 0.025)
    patch = dice.near(dice.pick(COATS), 0.025)
    ears = darker(coat if dice.chance(0.5) else patch, dice.between(0.15, 0.45))
    yaw = dice.between(-0.13, 0.13)
    wide, long = dice.between(0.58, 0.68), dice.between(0.58, 0.70)
    floppy = dice.chance(0.65)

    if floppy:
        drooping = dice.between(0.10, 0.55)
    else:
        for side in (-1, 1):
            base, tip = side * wide * 0.62, side * (wide * 0.80 + dice.between(0, 0.12))
            ear = [(base - 0.27, -0.40), (tip, -1.02), (base + 0.27, -0.40)]
            inner = [(base - 0.10, -0.45), (tip * 0.97, -0.86), (base + 0.12, -0.45)]
            pen.paint(polygon(ear, 0.04), ears, FUR, [(polygon(inner), darker(PINK, 0.2))])

    skull = ellipse(0, -0.16, wide, 0.60)
    cheeks = ellipse(yaw * 0.6, 0.28, wide * 0.74, long * 0.74)
    blaze = ellipse(yaw, -0.30, 0.13, 0.55)
    spot = ellipse(dice.pick((-1, 1)) * 0.32 + yaw, -0.16, 0.26, 0.28)
    marks = [(spot, patch)] if dice.chance(0.4) else []
    if dice.chance(0.4):
        marks.append((blaze, darker(coat, -0.65)))
    pen.paint(fused(skull, cheeks, 0.25), coat, FUR, marks)
    if floppy:
        for side in (-1, 1):
            root, end = (side * wide * 0.80, -0.50), (side * (wide + 0.22), drooping)
            pen.paint(drop(root, end, 0.17, 0.25), ears, FUR)

    nose = (yaw * 1.7, 0.20)
    muzzle = darker(coat, -dice.between(0.25, 0.75)) if dice.chance(0.7) else darker(coat, 0.4)
    tongue = dice.chance(0.45)
    if tongue:
        pen.paint(drop((nose[0], 0.58), (nose[0], 0.84), 0.13, 0.15), (0.90, 0.42, 0.46), MATTE)
    jowls = fused(
        ellipse(nose[0] - 0.17, 0.46, 0.25, 0.24), ellipse(nose[0] + 0.17, 0.46, 0.25, 0.24), 0.1
    )
    bridge = ellipse(nose[0] * 0.8, 0.22, 0.22, 0.30)
    pen.paint(fused(jowls, bridge, 0.18), muzzle, FUR)
    smile = [
        *arc(nose[0] - 0.17, 0.46, 0.17, math.pi * 0.8, 0.0),
        *arc(nose[0] + 0.17, 0.46, 0.17, math.pi, math.pi * 0.2),
    ]
    pen.paint(stroke([nose, (nose[0], 0.46)], 0.05) | stroke(smile, 0.05), darker(BLACK, -0.1), INK)

    apart, high = dice.between(0.25, 0.32), -0.16
    eyes = {"left eye": (yaw - apart, high), "right eye": (yaw + apart, high)}
    iris = dice.pick(EYE_COLOURS)
    for eye in eyes.values():
        _dark_eye(pen, eye, 0.125, iris)
    snout = fused(ellipse(nose[0], 0.15, 0.19, 0.11), ellipse(nose[0], 0.24, 0.10, 0.12), 0.10)
    pen.paint(snout, darker(BLACK, -dice.between(0.0, 0.12)), GLOSSY)
    return {**eyes, "nose": nose}


def _dark_eye(pen: Pen, at: Point, radius: float, iris: Colour) -> None:
    """Draw an animal's eye: a dark lid, an iris, a pupil and the light in it."""
    x, y = at
    pen.paint(ellipse(x, y, radius * 1.15, radius), BLACK, FLAT)
    pen.paint(
        circle(x, y, radius * 0.78),
        darker(iris, -0.1),
        FLAT,
        [(circle(x, y, radius * 0.50), BLACK), (glint(x, y, radius), WHITE)],
    )


def glint(x: float, y: float, radius: float) -> Shape:
    """Return the spot of light in an eye."""
    return circle(x - radius * 0.30, y - radius * 0.34, radius * 0.30)


def person(pen: Pen, dice: Rng) -> Parts:
    """Draw a human face from the front: hair, brows, eyes, nose, mouth, neck and shoulders."""
    skin = dice.near(dice.pick(SKINS), 0.03)
    hair = dice.near(dice.pick(HAIRS), 0.04)
    wide, yaw = dice.between(0.46, 0.54), dice.between(-0.07, 0.07)
    style = dice.pick(("short", "long", "curly", "bald", "bob"))

    if style == "long":
        pen.paint(drop((0, -0.38), (0, 0.55), wide + 0.16, wide + 0.22), darker(hair, 0.2), FUR)
    if style == "bob":
        pen.paint(drop((0, -0.34), (0, 0.15), wide + 0.15, wide + 0.17), darker(hair, 0.2), FUR)
    if style == "curly":
        curls = Finish(shade=0.3, rim=0.3, grain=0.5, rough=0.085)
        pen.paint(circle(0, -0.36, wide + 0.27), hair, curls)
    pen.paint(drop((0, 0.45), (0, 0.85), 0.20, 0.22), darker(skin, 0.18), MATTE)
    shirt = dice.any_colour()
    pen.paint(
        ellipse(0, 1.22, 0.92, 0.48),
        shirt,
        Finish(shade=0.25, rim=0.2, grain=0.1, contact=0.3),
        [(ellipse(0, 0.70, 0.27, 0.22), darker(skin, 0.1))],
    )

    for side in (-1, 1):
        pen.paint(ellipse(side * (wide + 0.02), 0.02, 0.09, 0.14), darker(skin, 0.08), MATTE)
    head = fused(ellipse(0, -0.20, wide, 0.50), ellipse(0, 0.26, wide * 0.78, 0.42), 0.22)
    blush = darker((skin[0], skin[1] * 0.86, skin[2] * 0.86), 0.0)
    cheeks = [(ellipse(yaw + s * 0.27, 0.22, 0.12, 0.09), blush) for s in (-1, 1)]
    pen.paint(head, skin, Finish(shade=0.20, rim=0.28, grain=0.03, contact=0.35), cheeks)
    _fringe(pen, dice, hair, style, wide)

    apart = dice.between(0.19, 0.23)
    eyes = {"left eye": (yaw - apart, -0.06), "right eye": (yaw + apart, -0.06)}
    iris = dice.pick(EYE_COLOURS)
    lift = dice.between(-0.05, 0.02)
    for side, (x, y) in zip((-1, 1), eyes.values(), strict=True):
        pen.paint(ellipse(x, y - 0.01, 0.135, 0.085), darker(skin, 0.45), FLAT)
        pupil = [(circle(x, y, 0.036), BLACK), (glint(x, y, 0.07), WHITE)]
        pen.paint(
            ellipse(x, y + 0.005, 0.12, 0.07), WHITE, FLAT, [(circle(x, y, 0.072), iris), *pupil]
        )
        brow = [(x - side * 0.13, y - 0.15), (x, y - 0.19 + lift), (x + side * 0.14, y - 0.14)]
        pen.paint(stroke(brow, 0.055), darker(hair, 0.25), FLAT)

    nose = (yaw * 1.6, 0.17)
    pen.paint(drop((yaw, 0.0), nose, 0.045, 0.085), darker(skin, 0.07), Finish(0.3, 0.3))
    nostrils = circle(nose[0] - 0.05, 0.215, 0.027) | circle(nose[0] + 0.05, 0.215, 0.027)
    pen.paint(nostrils, darker(skin, 0.5), FLAT)
    mouth = (yaw * 1.2, 0.42)
    _mouth(pen, dice, mouth, skin)
    if dice.chance(0.2):
        rims = [circle(x, y, 0.15).outline(0.04) for x, y in eyes.values()]
        bridge = stroke([(yaw - apart + 0.14, -0.07), (yaw + apart - 0.14, -0.07)], 0.04)
        pen.paint(rims[0] | rims[1] | bridge, dice.pick((BLACK, (0.5, 0.1, 0.1))), FLAT)
    return {**eyes, "nose": nose, "mouth": mouth}


def _fringe(pen: Pen, dice: Rng, hair: Colour, style: str, wide: float) -> None:
    """Draw the hair before the forehead."""
    if style == "bald":
        return
    cap = ellipse(0, -0.36, wide + 0.09, 0.46)
    parting = dice.between(-0.25, 0.25)
    low = dice.between(0.02, 0.14)
    forehead = ellipse(parting, 0.12 + low, wide * 1.04, 0.50)
    pen.paint(cap - forehead, hair, Finish(shade=0.35, rim=0.2, grain=0.3, rough=0.03))


def _mouth(pen: Pen, dice: Rng, at: Point, skin: Colour) -> None:
    x, y = at
    lips: Colour = (min(skin[0] * 0.95, 0.9), skin[1] * 0.52, skin[2] * 0.55)
    half = dice.between(0.14, 0.20)
    if dice.chance(0.5):  # a smile with teeth
        smile = ellipse(x, y - 0.03, half + 0.03, 0.13) - ellipse(x, y - 0.16, half + 0.12, 0.15)
        teeth = ellipse(x, y - 0.03, half - 0.01, 0.09) - ellipse(x, y - 0.14, half + 0.10, 0.15)
        pen.paint(smile, lips, FLAT, [(teeth, WHITE)])
    else:
        pen.paint(ellipse(x, y, half, 0.065), lips, Finish(shade=0.3, rim=0.2))
        pen.paint(
            stroke([(x - half, y - 0.02), (x, y + 0.005), (x + half, y - 0.02)], 0.025),
            darker(lips, 0.5),
            FLAT,
        )


def bird(pen: Pen, dice: Rng) -> Parts:
    """Draw a bird from the side, standing on two legs."""
    body = dice.any_colour()
    belly = darker(body, -dice.between(0.3, 0.7)) if dice.chance(0.6) else dice.any_colour()
    wing = darker(body, dice.between(0.2, 0.5)) if dice.chance(0.6) else dice.vivid()
    horn = dice.pick(((0.95, 0.65, 0.10), (0.85, 0.40, 0.12), (0.25, 0.22, 0.20)))
    plump, tilt = dice.between(0.36, 0.48), dice.between(-0.35, -0.1)

    legs = {"back leg": (-0.10, 0.66), "front leg": (0.16, 0.66)}
    for x, y in legs.values():
        foot = [
            (x - 0.04, 0.30, x, y),
            (x, y, x + 0.02, 0.93),
            (x + 0.02, 0.93, x + 0.22, 0.97),
            (x + 0.02, 0.93, x - 0.14, 0.97),
        ]
        pen.paint(strokes(foot, 0.075), darker(horn, 0.15), Finish(shade=0.3, contact=0.2))
    tail_tip = (-1.02, dice.between(-0.15, 0.35))
    tail = [
        (-0.42, -0.10),
        (tail_tip[0], tail_tip[1] - 0.14),
        (tail_tip[0] + 0.05, tail_tip[1] + 0.12),
        (-0.40, 0.22),
    ]
    pen.paint(polygon(tail, 0.03), darker(wing, 0.15), MATTE)

    head = (0.52, -0.48)
    size = dice.between(0.26, 0.33)
    beak_long = dice.between(0.26, 0.42)
    beak = (head[0] + size * 0.85 + beak_long * 0.5, head[1] + 0.04)
    cone = [
        (head[0] + size * 0.72, head[1] - 0.12),
        (head[0] + size * 0.85 + beak_long, head[1] + 0.06),
        (head[0] + size * 0.72, head[1] + 0.18),
    ]
    pen.paint(polygon(cone, 0.015), horn, Finish(shade=0.35, rim=0.2))
    trunk = fused(ellipse(0, 0.05, 0.62, plump, tilt), circle(*head, size), 0.30)
    feathers = Finish(shade=0.32, rim=0.32, grain=0.14, rough=0.02, contact=0.3)
    marks = [(ellipse(0.22, 0.30, 0.46, 0.24, tilt), belly)]
    if dice.chance(0.35):
        marks.append((ellipse(head[0], head[1] - size * 0.7, size, size * 0.6), wing))
    pen.paint(trunk, body, feathers, marks)
    plume = ellipse(-0.16, 0.02, 0.46, plump * 0.58, 0.22)
    bars = strokes([(-0.5, 0.10, 0.0, 0.20), (-0.52, -0.02, 0.05, 0.10)], 0.045)
    pen.paint(plume, wing, MATTE, [(bars, darker(wing, 0.4))])

    eye = (head[0] + size * 0.30, head[1] - size * 0.15)
    pen.paint(circle(*eye, 0.085), WHITE, FLAT, [(circle(*eye, 0.060), BLACK)])
    return {"eye": eye, "beak": beak, **legs}


def flower(pen: Pen, dice: Rng) -> Parts:
    """Draw a flower on its stem: a ring of petals around a centre, two leaves."""
    hue = dice.between(-0.45, 0.17)  # any but the green of the leaves
    petal = hsv(hue, dice.between(0.45, 0.9), dice.between(0.55, 0.95))
    if dice.chance(0.25):
        petal = dice.near((0.93, 0.92, 0.90), 0.06)
    heart = dice.pick(
        ((0.95, 0.75, 0.15), (0.42, 0.25, 0.12), (0.97, 0.90, 0.45), (0.55, 0.2, 0.4))
    )
    green = hsv(dice.between(0.25, 0.38), dice.between(0.5, 0.8), dice.between(0.35, 0.65))
    count = dice.pick((5, 6, 8, 10))
    x, y = dice.between(-0.08, 0.08), -0.28

    foot = (dice.between(-0.2, 0.2), 1.05)
    bend = ((x + foot[0]) / 2 + dice.between(-0.12, 0.12), 0.45)
    pen.paint(stroke([(x, y), bend, foot], 0.09), green, Finish(shade=0.4, rim=0.2))
    for side in (-1, 1):
        blade = ellipse(bend[0] + side * 0.27, 0.55, 0.30, 0.11, -side * dice.between(0.3, 0.7))
        pen.paint(blade, darker(green, dice.between(-0.1, 0.15)), MATTE)

    first, reach = dice.between(0, 6.28), 0.40
    slim = dice.between(0.85, 1.10) * {5: 0.27, 6: 0.24, 8: 0.185, 10: 0.155}[count]
    pointed = dice.between(0.26, 0.32)
    for i in range(count):
        turn = first + 2 * math.pi * i / count
        px, py = x + reach * math.cos(turn), y + reach * math.sin(turn)
        tone = darker(petal, 0.10 * (i % 2))
        vein = ellipse(x, y, 0.42, slim * 0.5, turn)
        shape = ellipse(px, py, pointed, slim, turn)
        pen.paint(shape, tone, MATTE, [(vein, darker(tone, 0.18))])
    seeds = [(circle(*p, 0.04), darker(heart, 0.35)) for p in around(x, y, 0.12, 6)]
    pen.paint(
        circle(x, y, dice.between(0.19, 0.25)), heart, Finish(0.3, 0.4, 0, 0.2, 0.02, 0.3), seeds
    )
    return {"centre": (x, y), "stem": bend}


def fish(pen: Pen, dice: Rng) -> Parts:
    """Draw a fish from the side: body, tail, fins, eye, often banded."""
    body = dice.vivid() if dice.chance(0.7) else dice.any_colour()
    fin = darker(body, dice.between(0.15, 0.45)) if dice.chance(0.5) else dice.vivid()
    deep = dice.between(0.34, 0.50)

    spread = dice.between(0.30, 0.42)
    for side in (-1, 1):
        lobe = [(-0.55, 0.0), (-1.0, side * spread), (-0.86, side * 0.04)]
        pen.paint(polygon(lobe, 0.05), fin, MATTE)
    tail = (-0.82, 0.0)
    back = [(-0.35, -deep * 0.55), (-0.22, -deep - 0.20), (0.25, -deep * 0.92), (0.30, -deep * 0.6)]
    pen.paint(polygon(back, 0.03), fin, MATTE)
    under = [(-0.10, deep * 0.70), (-0.28, deep + 0.20), (0.12, deep * 0.80)]
    pen.paint(polygon(under, 0.03), fin, MATTE)

    reach = (0.78**2 + deep**2) / (2 * deep)
    lens = circle(0.1, reach - deep, reach) & circle(0.1, deep - reach, reach)
    trunk = Shape(lens.distance, (-0.68, -deep, 0.88, deep)).grown(0.03)
    belly: tuple[Shape, Colour] = (ellipse(0.1, deep * 0.85, 0.7, deep * 0.6), darker(body, -0.5))
    marks = [belly]
    band = darker(body, 0.55) if dice.chance(0.5) else WHITE
    pattern = dice.pick(("bands", "spots", "plain", "line"))
    if pattern == "bands":
        marks += [
            (stroke(arc(x - 0.5, 0, 0.6, -0.7, 0.7), 0.10), band) for x in (-0.25, 0.05, 0.35)
        ]
    elif pattern == "spots":
        spots = [(dice.between(-0.4, 0.35), dice.between(-0.6, 0.4) * deep) for _ in range(6)]
        marks += [(circle(*s, 0.06), band) for s in spots]
    elif pattern == "line":
        marks.append((stroke([(-0.6, 0), (0.4, -0.02)], 0.10), band))
    scales = Finish(shade=0.40, rim=0.30, gloss=0.25, grain=0.10, contact=0.3)
    pen.paint(trunk, body, scales, marks)

    gill = stroke(arc(0.28, 0.0, 0.22, -1.0, 1.0), 0.045)
    mouth = (0.82, 0.06)
    pen.paint(gill | stroke([mouth, (0.68, 0.09)], 0.05), darker(body, 0.5), FLAT)
    side_fin = ellipse(0.10, deep * 0.30, 0.22, 0.10, 0.5)
    pen.paint(side_fin, fin, MATTE)
    eye = (0.58, -deep * 0.22)
    pen.paint(
        circle(*eye, 0.105),
        WHITE,
        Finish(rim=0.3),
        [(circle(*eye, 0.062), BLACK), (glint(*eye, 0.08), WHITE)],
    )
    return {"eye": eye, "mouth": mouth, "tail": tail}


def butterfly(pen: Pen, dice: Rng) -> Parts:
    """Draw a butterfly from above: two wings a side with spots and dark margins, body, feelers."""
    upper, edge = dice.vivid(), darker(dice.any_colour(), 0.65)
    lower = dice.vivid() if dice.chance(0.4) else darker(upper, dice.between(-0.2, 0.3))
    spot = dice.pick((WHITE, (0.98, 0.85, 0.3), (0.3, 0.6, 0.95), darker(edge, 0.2)))
    tall, lean = dice.between(0.34, 0.44), dice.between(0.45, 0.75)
    margin, dots = dice.between(0.05, 0.11), dice.whole(1, 3)

    for side in (-1, 1):
        low = ellipse(side * 0.40, 0.42, 0.42, 0.30, side * 0.75)
        rim_low = ellipse(side * 0.38, 0.40, 0.42 - margin, 0.30 - margin, side * 0.75)
        eyespot: list[tuple[Shape, Colour]] = [
            (circle(side * 0.46, 0.50, 0.12), spot),
            (circle(side * 0.46, 0.50, 0.06), edge),
        ]
        pen.paint(low, edge, MATTE, [(rim_low, lower), *eyespot])
        high = ellipse(side * 0.50, -0.30, 0.54, tall, -side * lean)
        rim_high = ellipse(side * 0.46, -0.27, 0.54 - margin, tall - margin, -side * lean)
        points = [(side * (0.52 + 0.17 * i), -0.30 - 0.13 * i + 0.05) for i in range(dots)]
        veins = strokes([(0, 0, side * 0.8, -0.72), (0, 0, side * 0.9, -0.25)], 0.03)
        marks: list[tuple[Shape, Colour]] = [(rim_high, upper), (veins, edge)]
        marks += [(circle(*p, 0.095 - 0.015 * i), spot) for i, p in enumerate(points)]
        pen.paint(high, edge, MATTE, marks)
    dark = darker((0.35, 0.26, 0.20), dice.between(0.1, 0.6))
    feelers = stroke([(0, -0.5), (-0.10, -0.75), (-0.24, -0.92)], 0.035) | stroke(
        [(0, -0.5), (0.10, -0.75), (0.24, -0.92)], 0.035
    )
    pen.paint(feelers, dark, FLAT)
    pen.paint(drop((0, -0.25), (0, 0.58), 0.10, 0.05), dark, MATTE)
    pen.paint(circle(0, -0.42, 0.12), darker(dark, 0.2), MATTE)
    return {"head": (0.0, -0.42), "left wing": (-0.5, -0.30), "right wing": (0.5, -0.30)}
