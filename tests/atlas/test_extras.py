"""What an atlas holds besides patches and projections, against second ways to find it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from convscope.atlas.build import Search, build_atlas
from convscope.atlas.optimised import OptimisedRecord, write_optimised
from convscope.atlas.statistics import QUANTILES, class_selectivity, nearest_maps, top_images
from convscope.atlas.store import Atlas, open_atlas
from convscope.atlas.trust import CHECKS, FIELDS
from convscope.errors import BadModel, BadOption, FolderInUse
from convscope.execution import Execution
from convscope.images.datasets import open_images
from convscope.images.image_set import Content, ImageSet
from convscope.images.pictures import GREY, crop, shown_box
from convscope.methods.checks import check
from convscope.methods.project import project
from convscope.methods.rules import DECONVNET
from convscope.network.network import open_network
from convscope.network.unit import Unit
from convscope.stats import roc_auc
from folders import content

DEPTH = {"0": 2, "3": 6, "7": 8}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, pictures, tiny) -> Atlas:
    folder = tmp_path_factory.mktemp("extras") / "atlas"
    return build_atlas(tiny.model(), open_images(pictures), folder, check=2)


@pytest.fixture(scope="module")
def seen(pictures, tiny) -> torch.Tensor:
    images, preprocess = open_images(pictures), tiny.model().preprocess
    return torch.stack([preprocess.tensor(images.picture(i)) for i in range(len(images))])


@pytest.fixture(scope="module")
def maps(seen, tiny) -> dict[str, torch.Tensor]:
    return {layer: tiny.module()[:depth](seen).detach() for layer, depth in DEPTH.items()}


def test_a_spotlight_is_the_patch_lit_by_the_blurred_energy(atlas, pictures, tiny, seen):
    network, preprocess = open_network(tiny.module(), (3, 24, 24)), tiny.model().preprocess
    for layer in DEPTH:
        table, record = atlas.layers[layer], atlas.record(layer)
        image, channel = int(table.image[1, 0]), 1
        unit = Unit(record.activation, channel, int(table.row[1, 0]), int(table.column[1, 0]))
        projection = project(network.trace(seen[image]), unit, DECONVNET).projection[0]
        box = project(network.trace(seen[image]), unit).places[0]
        shown = shown_box(box, 24, 24)
        picture = torch.from_numpy(preprocess.to_uint8(seen[image])).permute(2, 0, 1)
        patch = crop(picture, shown, GREY, within=box).permute(1, 2, 0).numpy().astype(float)
        where = crop(projection, shown, 0.0).abs().sum(0).double().numpy()
        sigma = sum(where.shape) / 2 / 28
        where = ndimage.gaussian_filter(
            where, sigma, radius=max(1, round(3 * sigma)), mode="nearest"
        )
        lit = np.clip(where / np.quantile(where, 0.99), 0, 1)[..., None]
        expected = GREY + (patch - GREY) * lit
        factor = record.tile // shown.height
        found = np.asarray(atlas.spotlight(layer, channel, 0))[::factor, ::factor].astype(float)
        assert np.abs(found - expected).max() <= 1.01


def test_trust_is_what_check_measures_with_fewer_draws(atlas, tiny, seen):
    network = open_network(tiny.module(), (3, 24, 24))
    for layer, channel, rank in (("3", 1, 0), ("3", 4, 1), ("7", 2, 0)):
        table, record = atlas.layers[layer], atlas.record(layer)
        at = (channel, rank)
        unit = Unit(record.activation, channel, int(table.row[at]), int(table.column[at]))
        [expected] = check(network.trace(seen[int(table.image[at])]), unit, settings=CHECKS)
        found = atlas.trust(layer, channel, rank)
        assert found.unit == unit and found.sentence == expected.sentence
        wanted = expected.to_dict()
        for name, value in found.to_dict().items():
            if name in FIELDS and name != "twin":
                near = (
                    pytest.approx(wanted[name], rel=1e-3, abs=1e-4) if value is not None else None
                )
                assert value == near, name


def test_what_is_not_its_own_has_a_contrastive_picture_that_is(pictures, tiny, tmp_path):
    module = tiny.module()
    with torch.no_grad():  # maps 1 and 2 are one, so nothing is their own; the others are like 3
        module[3].weight[2] = module[3].weight[1]
        for like in (0, 4, 5):
            module[3].weight[like] = module[3].weight[3] * (1 + 0.6 * torch.rand(4, 3, 3))
    made = build_atlas(tiny.model(module), open_images(pictures), tmp_path / "a", layers=["3"])
    record = made.record("3")
    strengths = [made.contrast_strength("3", channel) for channel in range(6)]
    for channel, strength in enumerate(strengths):
        trust, picture = made.trust("3", channel), made.contrast("3", channel)
        looked = trust is not None and trust.specific is not None and trust.specific.mean < 0.2
        assert looked == (not np.isnan(strength))
        assert (picture is not None) == (strength > 0)
        if picture is not None:
            assert picture.size == (record.tile, record.tile) and np.asarray(picture).std() > 1
            patch = np.asarray(made.patch("3", channel, 0)).astype(float) - GREY
            shown = np.asarray(picture).astype(float) - GREY
            assert (np.abs(shown) <= np.abs(patch) + 1).all()  # the patch, darker towards grey
    assert any(strength > 0 for strength in strengths)
    assert strengths[1] == strengths[2] == 0  # of twins nothing is their own
    assert np.isnan(made.contrast_strength("3", 0, 1)) and made.contrast("3", 0, 1) is None


def test_what_was_not_checked_is_none(atlas, tiny, pictures, tmp_path):
    assert atlas.trust("3", 1, 2) is None
    module = tiny.module()
    with torch.no_grad():
        module[0].bias[1] = -100.0
    dead = build_atlas(tiny.model(module), open_images(pictures), tmp_path / "a", layers=["0"])
    assert dead.trust("0", 1) is None and dead.trust("0", 0) is not None
    with pytest.raises(BadOption, match="check is 10; of 9 pictures"):
        build_atlas(tiny.model(), open_images(pictures), tmp_path / "b", check=10)


@pytest.mark.parametrize("layer", list(DEPTH))
def test_statistics_are_those_of_every_image(atlas, maps, layer):
    values, found = maps[layer], atlas.statistics(layer)
    peaks = values.amax((2, 3))
    assert found["images"].tolist() == [22] * peaks.shape[1]
    for channel in range(peaks.shape[1]):
        low, width = float(found["low"][channel]), float(found["width"][channel])
        for number in found["histogram"][channel].nonzero().flatten().tolist():
            inside = (peaks[:, channel] >= low + number * width - 1e-5) & (
                peaks[:, channel] < low + (number + 1) * width + 1e-5
            )
            assert inside.sum() >= found["histogram"][channel, number]
    assert found["histogram"].sum(1).tolist() == [22] * peaks.shape[1]
    torch.testing.assert_close(found["active_share"], (peaks > 0).double().mean(0))
    torch.testing.assert_close(
        found["density"], (values > 0).double().mean((0, 2, 3)), atol=2e-4, rtol=0
    )
    torch.testing.assert_close(found["mean"], values.double().mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    ordered = peaks.sort(dim=0).values
    for number, quantile in enumerate(QUANTILES):
        expected = ordered[round(quantile * 21)]
        torch.testing.assert_close(found["quantile"][:, number], expected, rtol=1e-4, atol=1e-6)
    shown = peaks.gather(0, found["example"].T)
    torch.testing.assert_close(shown.T, found["quantile"], rtol=1e-4, atol=1e-6)
    top = peaks.gather(0, found["top_image"][:, :22].T)
    torch.testing.assert_close(top, peaks.sort(dim=0, descending=True).values, rtol=1e-4, atol=1e-6)
    assert (found["top_image"][:, 22:] == -1).all()


def test_an_example_shows_where_the_map_is_strongest_in_its_image(atlas, maps, tiny, seen):
    field = open_network(tiny.module(), (3, 24, 24)).layer("2").field
    layer, channel = "0", 2
    field = open_network(tiny.module(), (3, 24, 24)).layer("1").field
    for number in range(len(QUANTILES)):
        image = int(atlas.statistics(layer)["example"][channel, number])
        place = int(maps[layer][image, channel].flatten().argmax())
        box = field.box(divmod(place, 24))
        picture = torch.from_numpy(tiny.model().preprocess.to_uint8(seen[image])).permute(2, 0, 1)
        expected = crop(picture, box, GREY).permute(1, 2, 0).numpy()
        cell = np.asarray(atlas.example(layer, channel, number))
        factor = len(cell) // 3
        assert (cell[::factor, ::factor] == expected).all()


def test_the_classes_of_the_top_images_are_counted(atlas):
    assert atlas.all_classes == [("cat", 11), ("dog", 11)]
    assert atlas.top_classes("3", 0) == [("cat", 11), ("dog", 11)]  # 50 of 22 are all
    assert atlas.told_class("3", 0) in (None, "cat", "dog")


def test_an_image_that_leaves_a_map_at_zero_does_not_excite_it():
    numbers = {
        "images": torch.tensor([4, 4, 4]),
        "active_share": torch.tensor([0.25, 0.0, 1.0], dtype=torch.float64),
        "top_image": torch.tensor([[3, 0, 1], [0, 1, 2], [2, 1, -1]]),
    }
    assert [top_images(numbers, channel) for channel in range(3)] == [[3], [], [2, 1]]


def noise(seed: int, images: int, maps: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((images, maps)).astype(np.float32)


def test_a_map_of_a_class_is_named_and_its_auc_is_that_of_the_other_half():
    labels = [number % 4 for number in range(200)]
    maxima = noise(0, 200, 3)
    maxima[np.array(labels) == 2, 1] += 2.0
    named, auc, chance = class_selectivity(maxima, labels)
    assert named[1] == 2 and auc[1] > chance[1] > 0.6
    whole = roc_auc(maxima[:, 1], np.array(labels) == 2)
    assert auc[1] == pytest.approx(whole, abs=0.06)


def test_chance_names_hardly_any_map_of_noise():
    labels = [number % 10 for number in range(300)]
    _, auc, chance = class_selectivity(noise(1, 300, 2000), labels)
    assert 0 < (auc > chance).mean() + 0.001 < 0.01  # 0.05 of 10 classes
    assert auc.mean() == pytest.approx(0.5, abs=0.01)


def test_images_without_labels_or_too_few_of_a_class_name_nothing():
    for labels in ([None] * 60, list(range(60))):
        named, auc, chance = class_selectivity(noise(2, 60, 4), labels)
        assert (named == -1).all() and np.isnan(auc).all() and np.isnan(chance).all()


def test_of_images_that_show_several_classes_each_is_told_from_the_rest():
    random = np.random.default_rng(4)
    truth = (random.random((200, 6)) < 0.3).astype(int)
    truth[random.random(200) < 0.2, 4] = -1  # not known
    maxima = noise(5, 200, 3)
    maxima[truth[:, 2] == 1, 1] += 2.0
    maxima[truth[:, 4] == 1, 2] += 2.0
    named, auc, chance = class_selectivity(maxima, [tuple(row) for row in truth.tolist()])
    assert named[1:].tolist() == [2, 4] and (auc[1:] > chance[1:]).all()
    for channel, label in ((1, 2), (2, 4)):
        known = truth[:, label] >= 0
        whole = roc_auc(maxima[known, channel], truth[known, label] == 1)
        assert auc[channel] == pytest.approx(whole, abs=0.06)


def test_one_class_of_each_image_is_read_as_well_as_a_truth_of_several():
    labels = [number % 4 for number in range(200)]
    maxima = noise(6, 200, 5)
    maxima[np.array(labels) == 3, 2] += 1.0
    alone = class_selectivity(maxima, labels)
    several = class_selectivity(maxima, [tuple(int(k == n) for k in range(4)) for n in labels])
    assert alone[0][2] == several[0][2] == 3
    assert alone[1][2] == pytest.approx(several[1][2], abs=0.06)  # other halves


def test_chance_names_hardly_any_map_of_noise_where_images_show_several_classes():
    truth = (np.random.default_rng(7).random((300, 10)) < 0.2).astype(int)
    _, auc, chance = class_selectivity(noise(8, 300, 2000), [tuple(row) for row in truth.tolist()])
    assert 0 < (auc > chance).mean() + 0.001 < 0.01
    assert auc.mean() == pytest.approx(0.5, abs=0.01)


def test_an_atlas_knows_the_classes_of_images_that_show_several(pictures, tiny, tmp_path):
    several = SeveralClasses(open_images(pictures))
    made = build_atlas(tiny.model(), several, tmp_path / "a", layers=["0"], check=0)
    assert made.all_classes == [("any", 22), ("even", 11)]
    assert made.top_classes("0", 1) == [("any", 22), ("even", 11)]
    assert made.images[2].classes() == {0: "even", 1: "any"} and made.images[3].class_names == (
        "any",
    )
    assert int(made.statistics("0")["class"][1]) == 0  # the other one is in every image


def test_the_nearest_maps_are_those_of_the_largest_correlation():
    maxima = torch.from_numpy(noise(3, 50, 8))
    maxima[:, 5] = 0.0  # never varies
    maxima[:, 6] = maxima[:, 2] * 3 + 0.1 * maxima[:, 6]
    nearest, r = nearest_maps(maxima)
    with np.errstate(invalid="ignore"):
        expected = np.corrcoef(maxima.double().numpy().T)
    np.fill_diagonal(expected, -np.inf)
    expected[np.isnan(expected)] = -np.inf
    assert nearest[2, 0] == 6 and (nearest[5] == -1).all()
    for channel in (0, 1, 2, 3, 4, 6, 7):
        order = np.argsort(-expected[channel], kind="stable")[:5]
        assert nearest[channel].tolist() == order.tolist()
        np.testing.assert_allclose(r[channel], expected[channel][order], rtol=1e-5)


def test_a_plain_atlas_has_the_files_of_old_and_says_what_it_lacks(pictures, tiny, tmp_path, atlas):
    plain = build_atlas(
        tiny.model(), open_images(pictures), tmp_path / "a", layers=["3"], plain=True
    )
    names = {path.name for path in plain.folder.rglob("*") if path.is_file()}
    assert names == {
        "manifest.json", "images.json", "checksums.json", "tables.safetensors", "patch-000.webp",
        "projection-000.webp", "wall-patch-000.webp", "wall-projection-000.webp",
    }  # fmt: skip
    assert "extras" not in (plain.folder / "manifest.json").read_text()
    assert plain.trust("3", 0) is None and plain.kinds == ("patch", "projection")
    for ask in (
        lambda: plain.spotlight("3", 0, 0),
        lambda: plain.statistics("3"),
        lambda: plain.example("3", 0, 0),
    ):
        with pytest.raises(BadOption, match="without --plain"):
            ask()
    for kind in ("patch", "projection"):  # the same pictures as in a rich one
        name = f"sheets/3/{kind}-000.webp"
        assert (plain.folder / name).read_bytes() == (atlas.folder / name).read_bytes()


def test_a_resume_with_other_checks_or_plain_is_refused(pictures, tiny, tmp_path):
    out = tmp_path / "a"
    build_atlas(tiny.model(), open_images(pictures), out, layers=["0"])
    for options, words in (
        ({"check": 2}, "check is 1 there, 2 now"),
        ({"plain": True}, "what it holds is"),
    ):
        with pytest.raises(FolderInUse, match=words):
            build_atlas(
                tiny.model(), open_images(pictures), out, layers=["0"], resume=True, **options
            )


def test_an_older_plain_atlas_goes_on_as_it_was(pictures, tiny, tmp_path):
    out = tmp_path / "a"
    build_atlas(tiny.model(), open_images(pictures), out, layers=["0"], plain=True)
    before = content(out)
    atlas = build_atlas(tiny.model(), open_images(pictures), out, layers=["0"], resume=True)
    assert atlas.manifest.extras is None and content(out) == before


FEW = OptimisedRecord(steps=3)


class SeveralClasses(ImageSet):
    """Images of a set, every second of which is even, and all of which are any."""

    multi_label = True

    def __init__(self, base: ImageSet) -> None:
        super().__init__("several", ("even", "any", "none"))
        self.base = base

    def __len__(self) -> int:
        return len(self.base)

    def name(self, index: int) -> str:
        return self.base.name(index)

    def label(self, index: int) -> int | None:
        return None

    def targets(self, index: int) -> tuple[int, ...]:
        return int(index % 2 == 0), 1, 0

    def content(self, index: int) -> Content:
        return self.base.content(index)


class Stop(Exception):
    """Stands for whatever ends a process."""


def test_optimised_pictures_are_added_and_an_interrupted_stage_goes_on(
    pictures, tiny, tmp_path, monkeypatch
):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        build_atlas(tiny.model(), open_images(pictures), folder, layers=["0", "3"], plain=True)
    whole, stopped = (open_atlas(folder) for folder in folders)
    with pytest.raises(BadOption, match="--optimised 3"):
        whole.optimised("3", 1)
    write_optimised(tiny.model(), whole, record=FEW)

    def stop(what: str, done: int, total: int) -> None:
        if done > 4:
            raise Stop

    with pytest.raises(Stop):
        write_optimised(tiny.model(), stopped, record=FEW, how=Execution(progress=stop))
    assert stopped.optimised("0", 1) and not stopped.optimised_activations("3")
    write_optimised(tiny.model(), stopped, record=FEW)
    assert content(folders[0]) == content(folders[1])
    assert len(whole.optimised_activations("3")) == 6
    cells = [np.asarray(whole.optimised("3", channel)) for channel in range(6)]
    assert all(cell.shape == (36, 36, 3) and cell.std() > 1 for cell in cells)
    assert any((cells[0] != cell).any() for cell in cells[1:])
    with pytest.raises(FolderInUse, match="made otherwise"):
        write_optimised(tiny.model(), whole, record=OptimisedRecord(steps=4))
    with pytest.raises(BadModel, match="other weights"):
        write_optimised(tiny.model(tiny.module(seed=1)), whole, record=FEW)


def test_search_says_what_an_atlas_holds():
    assert Search(plain=True).extras(5) is None
    extras = Search(check=3).extras(5)
    assert extras.check == 3 and extras.sample == 5 and extras.shifts == CHECKS.shifts
