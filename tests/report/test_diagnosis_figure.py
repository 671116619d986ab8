"""The figure of a diagnosis: whatever is missing, it can be drawn, and says what it shows."""

from __future__ import annotations

import torch
from torch import nn

from convscope.experiments.diagnosis.diagnosis import diagnose
from convscope.experiments.diagnosis.examined import Examined
from convscope.experiments.diagnosis.top_projections import top_projections
from convscope.images.preprocess import Preprocess
from convscope.network.network import Network, open_network
from convscope.report.diagnosis_figure import diagnosis_figure
from convscope.report.style import figure_bytes
from report.figures_seen import words

PREPROCESS = Preprocess((3, 40, 40))


def network(first: int = 12, stride: int = 2) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, first, 7, stride), nn.ReLU(), nn.Conv2d(first, 6, 3), nn.ReLU()
        )
    return open_network(module.eval(), (3, 40, 40))


def examined(found: Network, images: torch.Tensor | None) -> Examined:
    return Examined(
        "a network",
        diagnose(found, images),
        PREPROCESS,
        filters=found.nodes["0"].tensors["weight"],
        second=None if images is None else top_projections(found, images, "2"),
    )


def test_one_network_with_images_shows_all_panels():
    images = torch.rand(6, 3, 40, 40)
    figure = diagnosis_figure([examined(network(), images)], subtitle="on six images")
    said = words(figure)
    for panel in ("First-layer filters", "Second layer", "spatial frequency", "RMS", "6 images"):
        assert panel in said
    assert "Nyquist of" in said
    assert figure_bytes(figure)[:4] == b"\x89PNG"


def test_two_networks_are_drawn_on_one_scale_and_without_images_less_is_shown():
    bare = examined(network(150, 1), None)
    figure = diagnosis_figure([examined(network(), None), bare])
    said = words(figure)
    assert "Dead maps" not in said
    assert "the first 144 of 150" in said
    images = torch.rand(4, 3, 40, 40)
    pair = diagnosis_figure([examined(network(), images), examined(network(8), images)])
    ends = [axes.get_xlim() for axes in pair.axes if axes.get_xlabel() == "% of variance"]
    assert len(ends) == 2 and ends[0] == ends[1]


def test_a_network_that_never_looks_at_pixels_directly_is_drawn_too():
    module = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    found = open_network(module, (3, 40, 40))
    figure = diagnosis_figure([Examined("pooled", diagnose(found), PREPROCESS)])
    assert "no layer looks at the pixels" in words(figure)


def test_a_glimpse_leaves_out_maps_that_never_answer():
    found = network()
    with torch.no_grad():
        found.nodes["2"].tensors["bias"][3] = -1e6
    seen = top_projections(found, torch.rand(4, 3, 40, 40), "2", maps=16)
    assert [unit.channel for unit in seen.units] == [0, 1, 2, 4, 5]
    assert all(p.shape == (3, 11, 11) for p in seen.projections)  # 7 + 2 * 2
