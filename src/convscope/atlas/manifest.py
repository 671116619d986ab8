"""The records of an atlas: what its manifest and its list of images say."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from convscope.store.names import is_file_name

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
MOST = 2**31 - 1


def _checked(name: str) -> str:
    if not is_file_name(name):
        raise ValueError("not the name of a folder")
    return name


FileName = Annotated[str, AfterValidator(_checked)]
"""A name that becomes part of a path."""
Count = Annotated[int, Field(ge=0, le=2**53)]
Size = Annotated[int, Field(ge=1, le=MOST)]
"""Of maps, grids, fields and inputs."""
Side = Annotated[int, Field(ge=1, le=4096)]
"""Of a picture, in pixels."""
Number = Annotated[float, Field(allow_inf_nan=False)]


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
    count: Count


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

    size: tuple[Size, Size]
    stride: tuple[Number, Number]
    start: tuple[Number, Number]
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
        not_finite: how many maps were NaN or infinite everywhere, in all images; not written where
            there are none. Atlases that were made before count them as dead.
        filters: whether there is a sheet of its filters.
        image_dependent: False where projections are the same for every image, but for their
            strength; None in atlases that do not say.
        reads: the atlas's layers that it reads, with none of the atlas's in between; None in
            atlases that do not say.
    """

    name: str
    slug: FileName
    activation: str
    kind: str
    channels: Size
    grid: tuple[Size, Size]
    field: FieldRecord
    window: tuple[Size, Size]
    tile: Side
    non_finite: Count
    dead: Count
    filters: bool
    image_dependent: bool | None = None
    reads: tuple[str, ...] | None = None
    not_finite: Count = 0

    @model_serializer(mode="wrap")
    def _without_what_is_missing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields by name, without maps that are not finite where there are none."""
        fields: dict[str, Any] = write(self)
        return {k: v for k, v in fields.items() if k != "not_finite" or v}


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

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        """Refuse labels and names that are not as many."""
        labels, names = self.labels, self.class_names
        if labels is not None and names is not None and len(labels) != len(names):
            raise ValueError("labels and class_names are not as many")
        return self

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

    kinds: tuple[FileName, ...]
    check: Count
    shifts: Count
    neighbours: Count
    draws: Count
    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    bins: Count = 0
    sample: Count = 0
    top_images: Count = 0
    relevant: tuple[Count, ...] = ()


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
    input_shape: tuple[Size, Size, Size]
    top: Annotated[int, Field(ge=1, le=100)]
    rules: str
    device: str
    batch_size: Size
    padding: str
    layers: Annotated[tuple[LayerRecord, ...], Field(min_length=1)]
    skipped: tuple[SkippedRecord, ...]
    converted: dict[str, Count]
    seconds: Number
    seconds_by_phase: dict[str, Number]
    complete: bool
    extras: ExtrasRecord | None = None

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        """Refuse two layers of one name or one folder, and numbers that contradict each other."""
        if len({layer.slug.lower() for layer in self.layers}) < len(self.layers):
            raise ValueError("two layers have one folder")
        if len({layer.name for layer in self.layers}) < len(self.layers):
            raise ValueError("two layers have one name")
        if any(layer.dead > layer.channels for layer in self.layers):
            raise ValueError("a layer has more dead maps than maps")
        if len(self.skipped) > self.data.count:
            raise ValueError("more images are skipped than there are")
        return self

    @model_serializer(mode="wrap")
    def _without_missing_extras(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields by name, without extras that are None."""
        fields: dict[str, Any] = write(self)
        return {k: v for k, v in fields.items() if k != "extras" or v is not None}
