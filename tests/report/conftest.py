"""A small atlas folder, made by hand, and one in which every name is an attack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convscope.atlas import sheets
from convscope.atlas.folder import sheet_path, write_images, write_manifest
from convscope.atlas.manifest import (
    DataRecord,
    ExtrasRecord,
    FieldRecord,
    ImageRecord,
    LayerRecord,
    Manifest,
    ModelRecord,
    PreprocessRecord,
    SkippedRecord,
)
from convscope.atlas.tables import LayerTable, write_tables
from convscope.atlas.tiles import KINDS, PLAIN
from convscope.atlas.trust import FIELDS, write_trust
from convscope.report.page import write_page

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&`${}\u2028"
MAPS, TOP, DEAD, EMPTY_FROM = 34, 9, 33, 6  # 34 maps: two rank sheets; map 33 dead, map 0 short
SEED = 7

Build = Callable[..., Path]


def layer_record(name: str, slug: str, *, filters: bool) -> LayerRecord:
    return LayerRecord(
        name=name,
        slug=slug,
        activation=f"{name}.relu",
        kind="conv",
        channels=MAPS,
        grid=(8, 8),
        field=FieldRecord(size=(7, 7), stride=(2, 2), start=(-1, -1), status="exact"),
        window=(7, 7),
        tile=sheets.cell_size((7, 7)),
        non_finite=3 if filters else 0,
        dead=1,
        filters=filters,
    )


def table_of_layer(seed: int) -> LayerTable:
    draws = torch.Generator().manual_seed(seed)
    value = torch.rand((MAPS, TOP), generator=draws).sort(1, descending=True).values + 0.1
    image = torch.arange(TOP).repeat(MAPS, 1)
    row, column = (torch.randint(8, (2, MAPS, TOP), generator=draws)).unbind()
    active = torch.full((MAPS,), TOP)
    value[DEAD], active[DEAD] = 0.0, 0
    value[0, EMPTY_FROM:] = float("-inf")
    for places in (image, row, column):
        places[0, EMPTY_FROM:] = -1
    top, left = 2 * row - 1, 2 * column - 1
    box = torch.stack([top, left, top + 7, left + 7], dim=-1).masked_fill((image < 0)[..., None], 0)
    nothing = torch.zeros(MAPS, dtype=torch.int64)
    return LayerTable(value, image, row, column, box, active, nothing)


def write_sheets(
    folder: Path, record: LayerRecord, seed: int, kinds: tuple[str, ...] = PLAIN
) -> None:
    draws = np.random.default_rng(seed)
    place = sheet_path(folder, record.slug, "filters").parent
    place.mkdir(parents=True)
    for kind in kinds:
        tiles = draws.integers(0, 256, (MAPS, TOP, 7, 7, 3), dtype=np.uint8)
        for number in range(2):
            part = tiles[32 * number : 32 * number + 32]
            sheet = sheets.encode_sheet(sheets.rank_sheet(part), exact=True)
            (place / f"{kind}-{number:03d}.webp").write_bytes(sheet)
        wall = sheets.encode_sheet(sheets.wall_sheet(tiles), exact=True)
        (place / f"wall-{kind}-000.webp").write_bytes(wall)
    if record.filters:
        weight = torch.rand((MAPS, 3, 7, 7), generator=torch.Generator().manual_seed(seed))
        (place / "filters.webp").write_bytes(
            sheets.encode_sheet(sheets.filter_sheet(weight), exact=True)
        )


def build(folder: Path, *, names: tuple[str, ...] = ("conv1", "conv2"), **changes: object) -> Path:
    """A small atlas with one dead map and one map with empty ranks in each layer."""
    folder.mkdir()
    records = [layer_record(name, f"slug{i}", filters=i == 0) for i, name in enumerate(names)]
    for record in records:
        write_sheets(folder, record, SEED, KINDS if "extras" in changes else PLAIN)
    manifest = Manifest(
        convscope_version="0.1.0",
        model=ModelRecord(
            spec="zfnet-small@net.safetensors",
            weights_sha256="12" * 32,
            random_weights=False,
            parameters=1234567,
            classes=("cat", "dog"),
        ),
        data=DataRecord(spec="photos", identity="ab" * 32, count=TOP),
        preprocess=PreprocessRecord(text="RGB / 255", settings={"scaling": "unit", "fit": "crop"}),
        input_shape=(3, 16, 16),
        top=TOP,
        rules="deconvnet",
        device="cpu",
        batch_size=4,
        padding="grey",
        layers=tuple(records),
        skipped=(),
        converted={},
        seconds=75.0,
        seconds_by_phase={},
        complete=True,
    )
    image = ImageRecord(name="a.jpg", sha256="00" * 32, label=0, class_name="cat")
    images = [image.model_copy(update={"name": f"animals/{i}.jpg"}) for i in range(TOP)]
    images[1] = image.model_copy(update={"name": "a dog's.jpg", "class_name": "dog"})
    write_images(folder, changes.pop("images", images))  # type: ignore[arg-type]
    tables = {record.name: table_of_layer(SEED) for record in records}
    write_tables(folder, tables)
    write_manifest(folder, manifest.model_copy(update=changes))
    return folder


@pytest.fixture
def build_folder() -> Build:
    """Builds an atlas folder without a page: (folder, names of layers, changes of the manifest)."""
    return build


@pytest.fixture(scope="session")
def hostile_name() -> str:
    return HOSTILE


@pytest.fixture(scope="session")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas of two layers with its page. Not to be changed: copy it."""
    return write_page(build(tmp_path_factory.mktemp("plain") / "atlas")).parent


PLACE = {"own": 0.7, "place": 0.5, "place_low": 0.4, "place_high": 0.6, "place_p": 0.1, "disc": 0.3}
OWN = {"specific": 0.9, "specific_low": 0.8, "specific_high": 1.0, "own_weights": 0.8}
FOREIGN = {"specific": 0.05, "specific_low": 0.01, "specific_high": 0.09, "own_weights": 0.5}
TOLD = {
    1: {"activation": 3.0, **PLACE, **OWN},
    2: {"activation": 2.0, **PLACE, **FOREIGN, "contrast": 0.25},
}
"""Of the strongest picture, by feature map; of other maps nothing is known."""
COUNTS = (0, 4, 0, 2, 3, 0)  # of a map's histogram, bins half a unit wide from 1 on


def write_statistics(folder: Path, layers: tuple[str, ...]) -> None:
    maps = torch.zeros(MAPS, dtype=torch.int64)
    numbers = {
        "histogram": torch.tensor(COUNTS).repeat(MAPS, 1),
        "low": torch.ones(MAPS).double(),
        "width": torch.full((MAPS,), 0.5).double(),
        "density": torch.full((MAPS,), 0.125).double(),
        "images": torch.full((MAPS,), 6),
        "active_share": torch.full((MAPS,), 0.5).double(),
        "quantile": torch.tensor([1.5, 3.0]).repeat(MAPS, 1),
        "example": torch.tensor([1, -1]).repeat(MAPS, 1),
        "top_image": torch.tensor([1, 0, 2, -1]).repeat(MAPS, 1),
        "class": maps,
        "auc": torch.full((MAPS,), 0.75),
        "auc_chance": 0.5 + 0.4 * (torch.arange(MAPS) == 2),  # map 2: chance explains it
        "nearest": torch.tensor([3, -1]).repeat(MAPS, 1),
        "nearest_r": torch.tensor([0.5, float("nan")]).repeat(MAPS, 1),
    }  # fmt: skip
    fed = torch.full((MAPS, 2, 2), -1)
    fed[:, 0] = torch.tensor([0, 2])  # map 2 of the first layer feeds each of the second
    none = torch.full((MAPS, 2), float("nan"))
    numbers |= {"input": fed, "input_strength": none.clone(), "output": fed * 0 - 1}
    numbers |= {"output_strength": none}
    numbers["input_strength"][:, 0] = -0.25
    named = {f"{layer}/{field}": n.clone() for layer in layers for field, n in numbers.items()}
    save_file(named, folder / "statistics.safetensors")


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas with spotlights, checked pictures and statistics. Not to be changed: copy it."""
    extras = ExtrasRecord(kinds=KINDS, check=1, shifts=4, neighbours=4, draws=1)
    extras = extras.model_copy(update={"quantiles": (0.5, 0.9)})
    folder = build(tmp_path_factory.mktemp("checked") / "atlas", extras=extras)
    numbers = np.full((MAPS, 1, len(FIELDS)), np.nan, np.float32)
    for channel, told in TOLD.items():
        numbers[channel, 0] = [told.get(field, np.nan) for field in FIELDS]
    write_trust(folder, {"conv1": numbers, "conv2": numbers})
    write_statistics(folder, ("conv1", "conv2"))
    return write_page(folder).parent


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas in which everything that may be a name is an attack. Not to be changed."""
    image = ImageRecord(name=HOSTILE, sha256=None, label=0, class_name=HOSTILE)
    folder = build(
        tmp_path_factory.mktemp("hostile") / "atlas",
        names=("conv1", HOSTILE),
        images=[image] * TOP,
        model=ModelRecord(
            spec=HOSTILE,
            weights_sha256=None,
            random_weights=True,
            parameters=1,
            classes=(HOSTILE,),
        ),
        data=DataRecord(spec=HOSTILE, identity=HOSTILE, count=TOP),
        skipped=(SkippedRecord(name=HOSTILE, reason=HOSTILE),),
        converted={HOSTILE: 1},
    )
    return write_page(folder).parent
