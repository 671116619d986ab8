"""The records of an atlas: what its manifest and its list of images say."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

__all__ = [
    "DataRecord",
    "ExtrasRecord",
    "FieldRecord",
    "ImageRecord",
    "LayerRecord",
    "Manifest",
    "ModelRecord",
    "PreprocessRecord",
    "SkippedRecord",
    "StoredRecord",
]

SCHEMA_VERSION = 1


class StoredRecord(BaseModel):
    """A frozen piece of JSON. Unknown keys are ignored, so that a version may add some."""

    model_config = ConfigDict(frozen=True)


class ModelRecord(StoredRecord):
    """Which network the atlas is of.

    Attributes:
        spec: the model as it was asked for.
        weights_sha256: identifies the weights, hex.
        random_weights: whether they were never trained.
        parameters: how many there are.
        classes: names of the outputs, if known.
        output: of a network that returns several outputs, the name of the one that is its answer,
            as `--output` takes it; None, and not written, where there is but one.
        title: what to call it in a heading; None, and not written, where `spec` says it.
        weights_key: where in the weights file the weights were, as `--weights-key` takes it;
            None, and not written, where nobody had to say so.
    """

    spec: str
    weights_sha256: str | None
    random_weights: bool
    parameters: int
    classes: tuple[str, ...] | None
    output: str | None = None
    title: str | None = None
    weights_key: str | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_missing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields by name, without an output, a title or a key that is None."""
        fields: dict[str, Any] = write(self)
        optional = ("output", "title", "weights_key")
        return {k: v for k, v in fields.items() if k not in optional or v is not None}


class DataRecord(StoredRecord):
    """Which images the atlas looked at.

    Attributes:
        spec: the set as it was asked for.
        identity: hash of the whole set, hex.
        count: how many images it has, readable or not.
    """

    spec: str
    identity: str
    count: int


class PreprocessRecord(StoredRecord):
    """How an image became the network's input.

    Attributes:
        text: one line for people.
        settings: the same, value by value.
    """

    text: str
    settings: dict[str, Any]


class FieldRecord(StoredRecord):
    """A layer's receptive field, (rows, columns) in input pixels.

    Attributes:
        size: of a unit's field.
        stride: from a unit's field to that of its neighbour.
        start: where the field of unit 0 begins; that of unit i begins at start + i * stride.
        status: exact, upper bound or global.
    """

    size: tuple[int, int]
    stride: tuple[float, float]
    start: tuple[float, float]
    status: str


class LayerRecord(StoredRecord):
    """What the manifest says of a layer.

    Attributes:
        name: of the layer.
        slug: its folder's name.
        activation: the layer whose values were ranked, after batch norm and rectification.
        kind: of the operation.
        channels: how many feature maps it has.
        grid: (rows, columns) of a map.
        field: what a unit sees.
        window: (rows, columns) in input pixels that a picture shows: the field, or the whole input
            along an axis where the field is larger than it.
        tile: side of a cell on the sheets, in pixels.
        non_finite: how many NaN and infinite activations were met.
        dead: how many maps were above zero in no image.
        filters: whether there is a sheet of its filters.
        image_dependent: False where projections are the same for every image, but for their
            strength; None in atlases that do not say.
        reads: the atlas's layers that it reads, with none of the atlas's in between; None in
            atlases that do not say.
    """

    name: str
    slug: str
    activation: str
    kind: str
    channels: int
    grid: tuple[int, int]
    field: FieldRecord
    window: tuple[int, int]
    tile: int
    non_finite: int
    dead: int
    filters: bool
    image_dependent: bool | None = None
    reads: tuple[str, ...] | None = None


class SkippedRecord(StoredRecord):
    """An image that could not be read, and the reason."""

    name: str
    reason: str


class ImageRecord(StoredRecord):
    """One image of the data set.

    Attributes:
        name: in its set.
        sha256: of its bytes, hex; None where it could not be read.
        label: number of its class, if it has one.
        class_name: name of its class, if known.
        labels: numbers of the classes that it shows, where it may show several; else None, and not
            written.
        class_names: their names; likewise.
    """

    name: str
    sha256: str | None
    label: int | None
    class_name: str | None
    labels: tuple[int, ...] | None = None
    class_names: tuple[str, ...] | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_missing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields by name, without several labels where there is one."""
        fields: dict[str, Any] = write(self)
        several = ("labels", "class_names")
        return {k: v for k, v in fields.items() if k not in several or v is not None}

    def classes(self) -> dict[int, str]:
        """The classes that it shows: number -> name."""
        if self.labels is not None:
            return dict(zip(self.labels, self.class_names or map(str, self.labels), strict=True))
        if self.label is None:
            return {}
        return {self.label: str(self.label) if self.class_name is None else self.class_name}


class ExtrasRecord(StoredRecord):
    """What an atlas holds besides patches and projections.

    Attributes:
        kinds: of each winner's pictures.
        check: N, how many of the strongest pictures of each feature map were checked; their
            numbers are in trust.safetensors.
        shifts: moved copies of each picture's mask that stand for chance.
        neighbours: other units of the position that each is compared with, at most.
        draws: how often the unit's own block was drawn anew.
        quantiles: of each map's maxima over the images, at which there are examples.
        bins: of each map's histogram.
        sample: how many images' maxima quantiles, classes and nearest maps are taken from.
        top_images: images of each map whose classes are told.
        relevant: classes for which there are patches where each map is worth most to them.
    """

    kinds: tuple[str, ...]
    check: int
    shifts: int
    neighbours: int
    draws: int
    quantiles: tuple[float, ...] = ()
    bins: int = 0
    sample: int = 0
    top_images: int = 0
    relevant: tuple[int, ...] = ()


class Manifest(StoredRecord):
    """What an atlas shows and how it was made.

    Attributes:
        schema_version: of the files' layout.
        convscope_version: that made it.
        model: the network.
        data: the images.
        preprocess: from images to the network's input.
        input_shape: (3, H, W) in pixels.
        top: K, how many images each feature map keeps.
        rules: name of the method of projection.
        device: that the network ran on.
        batch_size: images at a time.
        padding: what pictures show outside the image and the field.
        layers: in the network's order.
        skipped: images that could not be read.
        converted: what was done to images that were not 8-bit RGB -> to how many of them.
        seconds: spent, in all runs of a resumed atlas.
        seconds_by_phase: the same by what was done.
        complete: whether the atlas is finished.
        extras: what it holds besides patches and projections; None, and not written, in a plain
            one.
    """

    schema_version: int = SCHEMA_VERSION
    convscope_version: str
    model: ModelRecord
    data: DataRecord
    preprocess: PreprocessRecord
    input_shape: tuple[int, int, int]
    top: int
    rules: str
    device: str
    batch_size: int
    padding: str
    layers: tuple[LayerRecord, ...]
    skipped: tuple[SkippedRecord, ...]
    converted: dict[str, int]
    seconds: float
    seconds_by_phase: dict[str, float]
    complete: bool
    extras: ExtrasRecord | None = None

    @model_serializer(mode="wrap")
    def _without_missing_extras(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields by name, without extras that are None."""
        fields: dict[str, Any] = write(self)
        return {k: v for k, v in fields.items() if k != "extras" or v is not None}
