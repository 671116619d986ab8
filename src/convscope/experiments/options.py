"""Arguments and options that several verbs share, declared once: types with typer's declarations.

A group is a frozen dataclass whose fields are options; a study has it as a field, a verb takes it
as a parameter. Nothing here imports torch: `convscope --help` must answer at once.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from convscope.network.task import Task

__all__ = [
    "VALIDATION",
    "ArchOption",
    "CacheOption",
    "DataArgument",
    "Device",
    "FitName",
    "ImageArgument",
    "LayersOption",
    "ModelArgument",
    "Reading",
    "RulesName",
    "RulesOption",
    "Running",
    "SizeOption",
    "StrideOption",
    "UnitsArgument",
    "ValOption",
    "WatchOption",
]

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="zfnet, zfnet-small, alexnet ..., run:DIR, torchvision:NAME, timm:NAME, "
        "package.module:factory or hub:DIR:ENTRY; each may end in @WEIGHTS; else its weights are "
        "random, and it says so. Or FILE.pt2, an exported program.",
        show_default=False,
    ),
]
DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder of images (ImageFolder layout or flat), a zip or tar of one (FILE.zip/train "
        "is a folder in it), shards (s-{00..99}.tar, here or at an address such as s3://...), a "
        "text file of paths, each with :N for so many of its images; scenes:SPLIT (rendered; SPLIT "
        "train, val, transfer, multi), torchvision:NAME, or a known layout and its folder: "
        "caltech:DIR, voc:VOCdevkit/VOC2012:SPLIT, index:DIR:SPLIT (index.csv). See "
        "docs/how-to/images.md.",
        show_default=False,
    ),
]
ImageArgument = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help="An image file, or DATA#NAME, one image of a data set: pictures.zip#dog/1.jpg, "
        "scenes:val#17 (by its number).",
        show_default=False,
    ),
]
UnitsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="UNIT",
        help="layer/channel (its strongest position) or layer/channel@row,column.",
        show_default=False,
    ),
]
LayersOption = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="These layers only. Default: every convolutional one."),
]

# ---- of trainings

VALIDATION = "Images to validate on. Default: scenes:val, or DATA/val."
ArchOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="zfnet, alexnet, alexnet-dense, zfnet-small or alexnet-small.",
        show_default=False,
    ),
]
ValOption = Annotated[str | None, typer.Option(metavar="DATA", help=VALIDATION)]
CacheOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Decoded images on disk, as `train --cache`.")
]

# ---- of occlusion

SizeOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="PX", help="The occluder's side. Default: a seventh of the input's."
    ),
]
StrideOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="PX", help="The occluder's step. Default: a quarter of its side."),
]
WatchOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Watch the strongest feature map of this layer. Default: the last convolution.",
    ),
]

# ---- of projection


class RulesName(StrEnum):
    """The methods there are; `methods.rules.RULES` holds them."""

    DECONVNET = "deconvnet"
    GRADIENT = "gradient"
    GUIDED = "guided"
    GRADIENT_X_INPUT = "gradient-x-input"
    DEEPLIFT = "deeplift"
    LRP_EPSILON = "lrp-epsilon"
    LRP_GAMMA = "lrp-gamma"


RulesOption = Annotated[
    RulesName,
    typer.Option(
        help="deconvnet (Zeiler & Fergus 2014), gradient (the derivative), guided "
        "(Springenberg et al. 2015). Shares of the value, that add up to it: gradient-x-input, "
        "deeplift (Shrikumar et al. 2017), lrp-epsilon, lrp-gamma (Montavon et al. 2019)."
    ),
]

# ---- groups

_MODEL = "Model and images"
_RUNNING = "Running"


class Device(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class FitName(StrEnum):
    """How a picture becomes the input's size."""

    AUTO = "auto"
    CROP = "crop"
    STRETCH = "stretch"
    NONE = "none"


@dataclasses.dataclass(frozen=True)
class Reading:
    """How pictures are fed to the network: for a model that does not say so itself."""

    input: Annotated[
        str | None,
        typer.Option(
            metavar="CxHxW",
            help="The input's shape, such as 3x224x224, or 1x28x28 for grey pictures.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="imagenet (RGB/255, the usual mean and std), unit (RGB/255), paper (RGB 0..255 "
            "minus the stored mean), caffe (BGR 0..255 minus 104, 117, 123), or a FILE.yaml "
            "(docs/how-to/images.md); unit and a file are for any number of channels.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    fit: Annotated[
        FitName | None,
        typer.Option(
            help="auto (a picture that has the input's size as it is, others as crop), crop "
            "(smallest side to input/0.875, centre crop), stretch (resize to the input), none "
            "(the picture must have that size). Default: as the weights say, else auto.",
            show_default=False,
            rich_help_panel=_MODEL,
        ),
    ] = None
    range: Annotated[
        str | None,
        typer.Option(
            metavar="LO,HI",
            help="The samples that are black and white, of pictures with more than 8 bits a "
            "sample, floats and arrays. Default: as their files say, where they do.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    show_bands: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B",
            help="The channels that pictures show as red, green and blue, counted from 1, or the "
            "one that they show in grey. Default: the first three, or the first.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Class names: a line or a JSON entry each.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    output: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The output to look at, by name or number, of a network that returns several. "
            "Default: the first.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    task: Annotated[
        Task,
        typer.Option(
            help="What the numbers that the network returns are: classify (scores of classes), "
            "multilabel (a sigmoid each), regress (values, no probabilities); auto: as the "
            "network's end says, see docs/how-to/outputs.md.",
            rich_help_panel=_MODEL,
        ),
    ] = Task.AUTO
    weights_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Where the weights are in a file that holds several: state_dict_ema, "
            "student.backbone. Default: where they fit, if that is one place.",
            rich_help_panel=_MODEL,
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class Running:
    """How to run: every verb takes these."""

    device: Annotated[
        Device, typer.Option(help="auto uses a GPU where there is one.", rich_help_panel=_RUNNING)
    ] = Device.AUTO
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Images per batch.", rich_help_panel=_RUNNING),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Threads that read images.", rich_help_panel=_RUNNING
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Of everything that is drawn at random.",
            rich_help_panel=_RUNNING,
        ),
    ] = 0
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="A machine-readable result on stdout; everything else goes to stderr.",
            rich_help_panel=_RUNNING,
        ),
    ] = False
