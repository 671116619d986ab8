"""The demo's pictures: scenes, feature maps, projections, occlusion beside the known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli.occlude import occlusion_row, read_fill, sweep_image
from convscope.cli.screen import Screen
from convscope.experiments.session import Picture, Session

if TYPE_CHECKING:
    from convscope.atlas.store import Atlas
    from convscope.images.datasets import SceneImages
    from convscope.methods.occlusion import OcclusionMaps

__all__ = ["draw_pictures"]

PROJECTED = ("conv5", "conv3")  # layers whose strongest units are projected
SHOWN_CLASSES = ("dog", "car", "butterfly", "bird", "house", "flower")  # of the projections
OCCLUDED_CLASSES = ("dog", "car", "butterfly")
OCCLUDER = (24, 3)  # pixels: size and stride; a third of a scene
CANDIDATES = 10  # scenes of a class that are tried, for one that is named correctly


def draw_pictures(
    screen: Screen, session: Session, scenes: SceneImages, atlas: Atlas, folder: Path
) -> list[dict[str, Any]]:
    """Draw the demo's pictures into a folder.

    Args:
        screen: where the person is told about it.
        session: the trained network.
        scenes: the images that are looked at.
        atlas: of this network and these images.
        folder: of the .png files.

    Returns:
        What was measured about each occlusion, JSON-able.
    """
    from convscope.report.demo_page import contact_figure
    from convscope.report.feature_grid import feature_grid_figure, feature_grid_words
    from convscope.report.style import write_figure

    screen.say("3/3  pictures and page: scenes, feature maps, projections, occlusion")
    record = session.record()
    count = 2 * len(scenes.recipe.classes)
    sheet = contact_figure(
        [scenes.picture(i) for i in range(count)], [_class_of(scenes, i) for i in range(count)]
    )
    write_figure(folder / "scenes.png", sheet, record)
    subtitle = f"A small ZFNet over {atlas.manifest.data.count} scenes. {feature_grid_words(atlas)}"
    plate = feature_grid_figure(
        atlas, maps=3, title="Feature maps, drawn at random", subtitle=subtitle
    )
    write_figure(folder / "maps.png", plate, record)
    write_figure(folder / "projections.png", _projections(session, scenes), record)
    occluded = []
    for name in OCCLUDED_CLASSES:
        index = _correctly_classified(session, scenes, name)
        if index is None:
            continue
        picture = Picture(scenes.name(index), scenes.picture(index))
        maps = sweep_image(screen, session, picture, OCCLUDER, fill=read_fill("grey", session))
        file = folder / f"occlusion-{name}.png"
        write_figure(file, occlusion_row(maps, session, picture), record)
        occluded.append({"class": name, "file": file.name, **_against_truth(maps, scenes, index)})
    return occluded


def _class_of(scenes: SceneImages, index: int) -> str:
    """The name of a scene's class; empty where it has none."""
    label = scenes.label(index)
    return scenes.recipe.classes[label] if label is not None else ""


def _correctly_classified(session: Session, scenes: SceneImages, name: str) -> int | None:
    """The index of the first scene of a class that the network classifies correctly, if any."""
    from convscope.experiments.correctly_classified import probabilities

    classes = scenes.recipe.classes
    label = classes.index(name)
    for index in range(label, len(scenes), len(classes))[:CANDIDATES]:
        image = session.tensor(Picture(name, scenes.picture(index)))
        if int(probabilities(session.network, image)[0].argmax()) == label:
            return index
    return None


def _projections(session: Session, scenes: SceneImages) -> Any:
    """The strongest unit of each of some layers in a scene of each of some classes."""
    import torch

    from convscope.methods.occlusion import strongest_map
    from convscope.methods.project import project
    from convscope.report.projection_figure import projection_figure

    network, preprocess = session.network, session.model.preprocess
    indices = [scenes.recipe.classes.index(name) for name in SHOWN_CLASSES]
    pictures = [scenes.picture(index) for index in indices]
    images = torch.cat([session.tensor(Picture("", picture)) for picture in pictures])
    units = [strongest_map(network, image, layer) for layer in PROJECTED for image in images]
    rows = list(range(len(images))) * len(PROJECTED)
    trace = network.trace(images, [unit.layer for unit in units])
    projections = project(trace, units, images=rows)
    return projection_figure(
        projections,
        [preprocess.shown(picture) for picture in pictures],
        preprocess,
        names=SHOWN_CLASSES,
        title="The strongest unit of a layer in one scene",
        subtitle=f"What the unit sees, and its projection · {' and '.join(PROJECTED)}",
    )


def _against_truth(maps: OcclusionMaps, scenes: SceneImages, index: int) -> dict[str, float]:
    """An occlusion held against the scene's mask, the known truth.

    Returns:
        The class's probability without an occluder, its mean where at least half of the occluder
        lies on the object, its mean where as little of it as possible does, and its minimum.
    """
    import torch

    mask = torch.from_numpy(scenes.scene(index).mask)
    boxes = maps.occluder.boxes(*mask.shape)
    cover = torch.tensor([
        float(mask[box.top : box.bottom, box.left : box.right].float().mean()) for box in boxes
    ])  # fmt: skip
    probability = maps.probability.flatten()
    return {
        "unoccluded": maps.base_probability,
        "on_object": float(probability[cover >= cover.max().clip(max=0.5)].mean()),
        "off_object": float(probability[cover == cover.min()].mean()),
        "lowest": float(probability.min()),
    }
