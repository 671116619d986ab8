"""Figures: not blank, every word there, nothing outside its place, no formula out of a name."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from convscope.errors import BadInput, BadOption
from convscope.images.preprocess import Preprocess
from convscope.images.scaling import Scaling
from convscope.methods.occluder import Occluder
from convscope.methods.occlusion_maps import ClassMaps
from convscope.network.unit import Unit
from convscope.report.occlusion_figure import by_pixel, occlusion_figure
from convscope.report.projection_figure import projection_figure
from convscope.report.sheet import Sheet
from convscope.report.style import color_of, figure_bytes, save
from report.figures_made import (
    CLASSES,
    HEIGHT,
    WIDTH,
    noise,
    some_maps,
    some_picture,
    some_projections,
    sure,
    targeted,
    unit_preprocess,
)
from report.figures_seen import drawn, texts

NAMES = ["cost $x_1$ of {a}", "<b>bold</b>", "a very long name, " * 3, "Zürich", *"efghijkl"]


def occlusion(**settings: object):
    return occlusion_figure(some_maps(), unit_preprocess(), classes=NAMES, **settings)


def panel(figure, number: int) -> np.ndarray:
    """The pixels of the figure's picture number ..., as drawn."""
    shown = drawn(figure)
    box = [image for axes in figure.axes for image in axes.images][number].get_window_extent()
    rows = slice(round(len(shown) - box.y1) + 2, round(len(shown) - box.y0) - 2)
    return shown[rows, round(box.x0) + 2 : round(box.x1) - 2]


def test_every_panel_of_the_row_shows_something():
    figure = occlusion()
    for number in range(5):
        assert panel(figure, number).std() > 5


def test_the_row_names_its_image_unit_class_and_numbers():
    said = texts(occlusion(title="dog.jpg", subtitle="a network"))
    for expected in (
        "dog.jpg", "a network", "Activity of feature map 130",
        "Layer features.12.expand3x3_activation",
        "Probability of a very long name", "24×24 px", "Projection of unit 130@3,4",
        "12.3", "90", "7 others", "56 %",
    ):  # fmt: skip
        assert expected in said


def test_the_label_map_has_a_colour_for_each_class_that_is_named_and_one_for_the_rest():
    colours = np.unique(panel(occlusion(), 4).reshape(-1, 3), axis=0)
    assert len(colours) == 5 + 1


def test_class_names_are_words_and_never_formulas():
    figure = occlusion()
    assert "cost $x_1$ of {a}" in texts(figure)
    assert not any(text.get_parse_math() for text in figure.texts)


def test_without_names_classes_have_numbers():
    said = texts(occlusion_figure(some_maps(), unit_preprocess()))
    assert "Probability of class 2" in said


@pytest.mark.parametrize("shape", [(40, 40), (40, 10), (10, 40)])
def test_no_word_leaves_the_figure_and_no_two_overlap(shape):
    maps = some_maps(unit=Unit("block." * 30, 3, 1, 1))
    maps = replace(maps, image=noise(3, *shape), fill=noise(3, *shape), projection=noise(3, *shape))
    figure = occlusion_figure(
        maps,
        Preprocess((3, *shape), Scaling.UNIT),
        classes=NAMES,
        title="t" * 500,
        subtitle="s" * 500,
    )
    edge = figure.bbox
    boxes = [t.get_window_extent() for t in figure.texts if t.get_text().strip()]
    for box in boxes:
        assert edge.x0 <= box.x0 and box.x1 <= edge.x1
        assert edge.y0 <= box.y0 and box.y1 <= edge.y1
    for i, box in enumerate(boxes):
        for other in boxes[i + 1 :]:
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert width <= 1 or height <= 4  # points of a line's own leading


def test_a_pixel_shows_the_occluder_whose_visible_part_is_centred_nearest():
    maps = some_maps(Occluder(16, 8))  # along 40 pixels: visible centres 8, 16, 24, 32, 36
    numbers = torch.arange(25).reshape(5, 5)
    shown = by_pixel(numbers, maps)
    assert shown.shape == (HEIGHT, WIDTH)
    starts = [0, 12, 20, 28, 34]
    expected = np.searchsorted(starts, np.arange(40), side="right") - 1
    assert (shown[0] == expected).all()
    assert (shown[:, 0] == 5 * expected).all()


def test_one_position_and_a_unit_without_a_place_are_drawn_too():
    figure = occlusion_figure(some_maps(Occluder(99, 99), Unit("fc8", 3)), unit_preprocess())
    assert panel(figure, 2).std() > 5
    assert "Projection of unit 3" in texts(figure)


def test_maps_that_do_not_vary_are_drawn_without_a_warning():
    maps = some_maps()
    maps.probability.zero_()
    maps.activity.fill_(maps.base_activity)
    assert len(figure_bytes(occlusion_figure(maps, unit_preprocess())))


def test_where_the_network_is_sure_the_row_shows_log_odds_and_says_so():
    figure = sure()
    assert panel(figure, 3).std() > 5
    said = " ".join(texts(figure))
    for words in ("Log-odds of", "log-odds", "17.5 to 12", "the probability hardly changes"):
        assert words in said
    assert "Probability of" not in said


def test_a_targets_value_stands_where_the_probability_would():
    figure = targeted("mean logit", 3)
    said = " ".join(texts(figure))
    for words in ("Mean logit of", "Predicted classes", "Where it is predicted", "Highest", "−1.5"):
        assert words in said
    assert panel(figure, 3).std() > 5 and panel(figure, 4).std() > 5
    alone = targeted("cosine similarity")
    said = " ".join(texts(alone))
    assert "Cosine similarity of" in said and "redicted classes" not in said


@pytest.mark.parametrize(
    ("lowest", "odds", "shown"),
    [
        (0.89, 5.0, "probability"),  # a tenth of the scale: seen
        (0.91, 5.0, "log-odds"),
        (1.0, 5.0, "log-odds"),
        (1.0, 9.995, "probability"),  # nothing changes: log-odds would be of one colour as well
    ],
)
def test_log_odds_are_shown_where_the_probability_has_one_colour(lowest, odds, shown):
    maps = some_maps(classes=2)
    grid = maps.activity.shape
    answer = ClassMaps(
        1, torch.ones(grid), torch.full(grid, 10.0).double(), maps.label,
        torch.tensor([0.0, 1.0]), 10.0,
    )  # fmt: skip
    answer.probability[1, 2], answer.log_odds[1, 2] = lowest, odds
    maps = replace(maps, answer=answer)
    assert maps.quantity == shown
    assert maps.value is (answer.probability if shown == "probability" else answer.log_odds)
    assert maps.base_value == (1.0 if shown == "probability" else 10.0)


def test_a_class_without_a_name_has_its_number():
    maps = some_maps()
    said = texts(occlusion_figure(maps, unit_preprocess(), classes=[""] * CLASSES))
    assert "Probability of class 2" in said and "class 0" in said


def test_the_same_numbers_make_the_same_file():
    assert figure_bytes(occlusion()) == figure_bytes(occlusion())


def test_figures_leave_matplotlibs_settings_alone():
    before = dict(mpl.rcParams)
    figure_bytes(occlusion())
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("count", [1, 2, 3, 5, 14])
def test_every_unit_has_a_patch_a_spotlight_and_a_projection(count):
    figure = projection_figure(some_projections(count), [some_picture()], unit_preprocess())
    assert sum(len(axes.images) for axes in figure.axes) == 4 * count
    assert all(panel(figure, number).std() > 5 for number in (0, 1, 2, 4 * count - 1))
    said = texts(figure)
    for i in range(count):
        assert f"conv5/{i}@6,6" in said
    assert "activation −1" in said
    assert "9×9 px from row −3, column 30" in said


def test_the_field_is_framed_in_the_whole_image():
    picture = some_picture()
    figure = projection_figure(some_projections(1), [picture], unit_preprocess())
    (axes,) = [each for each in figure.axes if each.images]
    whole = axes.images[0]
    assert np.array_equal(np.asarray(whole.get_array()), picture)
    left, right, bottom, top = whole.get_extent()
    height, width = picture.shape[:2]
    scale = (right - left) / width
    assert (bottom - top) / height == pytest.approx(scale)
    (frame,) = [each for each in axes.patches if each.get_edgecolor() == to_rgba(color_of(1))]
    # 9 x 9 pixels from row -3, column 30, as far as they are in the image
    corner = (frame.get_x() - left) / scale, (frame.get_y() - top) / scale
    assert corner == pytest.approx((30, 0))
    extent = frame.get_width() / scale, frame.get_height() / scale
    assert extent == pytest.approx((9, 6))


def test_what_a_field_sees_outside_the_image_is_grey_and_stays_in_place():
    figure = projection_figure(some_projections(1), [some_picture()], unit_preprocess())
    patch = panel(figure, 1)  # 9 x 9 pixels of the image, from row -3
    third = patch.shape[0] // 3
    assert (patch[: third - 3] == 128).all()
    assert patch[third + 3 :].std() > 20


def test_small_fields_keep_their_pixels_sharp():
    figure = projection_figure(some_projections(1, side=3), [some_picture()], unit_preprocess())
    colours = np.unique(panel(figure, 3).reshape(-1, 3), axis=0)
    assert len(colours) <= 9 + 1  # grey where the field leaves the image


def test_projections_of_a_bgr_network_are_shown_in_rgb():
    projections = some_projections(1)
    projections.projection.zero_()
    projections.projection[:, 0, :10, 30:39] = 1.0  # the network's first colour: blue
    picture = some_picture()
    for scaling, channel in ((Scaling.CAFFE, 2), (Scaling.PAPER, 0)):
        shown = panel(projection_figure(projections, [picture], unit_preprocess(scaling)), 3)
        assert shown[-20, 20].argmax() == channel


def test_names_of_pictures_and_units_of_several_images_go_together():
    projections = some_projections(2)
    projections.images[1] = 1
    figure = projection_figure(
        projections, [some_picture(), 255 - some_picture()], unit_preprocess(),
        names=["first.jpg", "second.jpg"],
    )  # fmt: skip
    said = texts(figure)
    assert said.index("conv5/0@6,6") < said.index("first.jpg") < said.index("second.jpg")


@pytest.mark.parametrize("count", [0, 601])
def test_a_page_holds_a_limited_number_of_units(count):
    with pytest.raises(BadInput, match="1 to 600"):
        projection_figure(some_projections(count), [some_picture()], unit_preprocess())


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_a_figure_is_saved_as_what_its_name_says(tmp_path, suffix):
    path = tmp_path / f"figure{suffix}"
    save(projection_figure(some_projections(1), [some_picture()], unit_preprocess()), path)
    start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(start)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(BadOption, match=r"\.png, \.pdf, \.svg"):
        save(Sheet("words").figure(), tmp_path / "figure.bmp")


def test_letters_that_no_typeface_holds_are_drawn_without_a_warning():
    assert figure_bytes(
        occlusion_figure(some_maps(), unit_preprocess(), classes=["犬 𓃠"] * CLASSES)
    )
