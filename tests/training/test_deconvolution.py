"""The deconvolutional network that learns, against planted filters and naive second versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from convscope.errors import BadOption
from convscope.training.deconvolution.contrast import SIDE, WIDTH, contrast_normalised
from convscope.training.deconvolution.filters import FilterStep, filter_step
from convscope.training.deconvolution.layerwise import (
    DeconvolutionArchitecture,
    Learning,
    infer_codes,
    learn_layer,
)
from convscope.training.deconvolution.pooling import Pool
from convscope.training.deconvolution.reconstruction import (
    DeconvolutionLayer,
    Reconstruction,
    coding_energy,
    footprint,
    unit_ball,
)
from convscope.training.deconvolution.sparse_codes import (
    Codes,
    Sparsity,
    energies,
    infer,
    ista_step,
)

PLAIN = Pool(maps=1, side=1)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_layers(count: int = 2) -> Reconstruction:
    """Two layers of 4 maps, pooled by 2, over one channel of 8x8 pixels."""
    first = DeconvolutionLayer(unit_ball(drawn(4, 1, 3, 3)))
    second = DeconvolutionLayer(unit_ball(drawn(4, 2, 3, 3, seed=1)))
    _, switches = first.pool(drawn(count, 4, 8, 8, seed=2))
    return Reconstruction([first, second], [switches])


# ---- pooling


def test_the_largest_magnitude_of_each_block_stays_with_its_sign():
    codes = torch.zeros(1, 2, 2, 4)
    codes[0, 0, 0, 0], codes[0, 1, 1, 1], codes[0, 1, 0, 3] = 2.0, -3.0, 1.0
    pooled, switches = Pool()(codes)
    assert pooled.tolist() == [[[[-3.0, 1.0]]]]
    assert switches.tolist() == [[[[7, 5]]]]  # map, row, column as binary digits
    back = Pool().back(pooled, switches)
    codes[0, 0, 0, 0] = 0  # the one that is not the largest of its block
    assert torch.equal(back, codes)


@pytest.mark.parametrize("pool", [Pool(), Pool(1, 2), Pool(3, 1), PLAIN])
def test_unpooling_puts_every_value_where_it_was(pool: Pool):
    codes = drawn(2, 6, 4, 8)
    pooled, switches = pool(codes)
    back = pool.back(pooled, switches)
    there = back != 0
    assert int(there.sum()) == pooled.numel()
    assert torch.equal(back[there], codes[there])
    assert torch.equal(pool.at(back, switches), pooled)
    for n, j, row, column in np.ndindex(*pooled.shape):
        block = codes[
            n, j * pool.maps : (j + 1) * pool.maps,
            row * pool.side : (row + 1) * pool.side,
            column * pool.side : (column + 1) * pool.side,
        ]  # fmt: skip
        assert pooled[n, j, row, column].abs() == block.abs().max()


# ---- down and up


def test_the_way_up_is_the_transpose_of_the_way_down():
    how = two_layers()
    codes, pixels = drawn(2, 4, 4, 4, seed=3), drawn(2, 1, 8, 8, seed=4)
    down = (how.down(codes) * pixels).sum()
    torch.testing.assert_close(down, (codes * how.up(pixels)).sum())


def test_the_gradients_by_codes_and_by_filters_are_autograds():
    how, images = two_layers(), drawn(2, 1, 8, 8, seed=4)
    codes = drawn(2, 4, 4, 4, seed=3).requires_grad_()
    filters = how.top.filters.clone().requires_grad_()

    def squared_error(codes: Tensor, filters: Tensor) -> Tensor:
        error = how.with_filters(filters).down(codes) - images
        return error.square().sum() / 2

    assert torch.autograd.gradcheck(squared_error, (codes, filters))
    by_codes, by_filters = torch.autograd.grad(squared_error(codes, filters), (codes, filters))
    error = how.down(codes.detach()) - images
    torch.testing.assert_close(how.up(error), by_codes)
    mine = how.top.filter_gradient(codes.detach(), how.above(error))
    torch.testing.assert_close(mine, by_filters)


def test_one_code_reaches_its_footprint_and_no_pixel_beyond():
    first, second = (
        DeconvolutionLayer(torch.ones(2, 1, 3, 3)),
        DeconvolutionLayer(torch.ones(2, 1, 5, 5)),
    )
    reached = torch.zeros(32, 32, dtype=torch.bool)
    for place in range(8):  # every switch that there is
        switches = torch.full((1, 1, 16, 16), place)
        codes = torch.zeros(1, 2, 16, 16)
        codes[0, 0, 7, 9] = 1
        reached |= Reconstruction([first, second], [switches]).down(codes)[0, 0] != 0
    top, left, bottom, right = footprint([first, second], (7, 9))
    expected = torch.zeros_like(reached)
    expected[top:bottom, left:right] = True
    assert torch.equal(reached, expected)


# ---- codes


def test_the_energy_falls_in_every_step_where_switches_stay():
    how, images = two_layers(), drawn(2, 1, 8, 8, seed=4)
    codes, weight = Codes.zero(images, how), 5.0
    values = [energies(codes, weight)]
    for _ in range(30):
        codes = ista_step(codes, images, how, weight)
        torch.testing.assert_close(codes.error, how.down(codes.values) - images)
        values.append(energies(codes, weight))
    curve = torch.stack(values)
    assert (curve.diff(dim=0) <= 1e-12).all()
    assert (curve[-1] < 0.9 * curve[0]).all()
    assert (codes.values == 0).any(), "codes are sparse"


def test_codes_at_their_switches_stay_there_and_the_energy_falls():
    how, images = two_layers(), drawn(2, 1, 8, 8, seed=4)
    pool, weight = how.top.pool, 5.0
    pooled, switches = pool(how.up(images))
    support = pool.back(torch.ones_like(pooled), switches) > 0
    codes = Codes.zero(images, how)
    before = energies(codes, weight)
    for _ in range(20):
        codes = ista_step(codes, images, how, weight, support)
        now = energies(codes, weight)
        assert (now <= before + 1e-12).all()
        before = now
    assert not codes.values[~support].any()
    assert codes.values[support].any()


def test_a_code_that_no_step_can_better_is_where_the_derivative_says():
    """At the minimum λ R'(Rz − y) is -sign(z) where z is not zero, and at most 1 elsewhere."""
    how, images, weight = two_layers(), drawn(2, 1, 8, 8, seed=4), 5.0
    codes = Codes.zero(images, how)
    for _ in range(600):
        codes = ista_step(codes, images, how, weight)
    slope = weight * how.up(codes.error)
    there = codes.values != 0
    torch.testing.assert_close(slope[there], -codes.values[there].sign(), atol=1e-3, rtol=0)
    assert slope[~there].abs().max() <= 1 + 1e-3


def naive_sparse_code(image: Tensor, filters: Tensor, weight: float, steps: int) -> Tensor:
    """Convolutional sparse coding by a dense matrix: coordinate descent over single codes."""
    height, width = image.shape
    reach = filters.shape[-1] // 2
    columns = []
    for k, row, column in np.ndindex(len(filters), height, width):
        atom = torch.zeros(height + 2 * reach, width + 2 * reach, dtype=image.dtype)
        atom[row : row + 2 * reach + 1, column : column + 2 * reach + 1] = filters[k, 0]
        columns.append(atom[reach : reach + height, reach : reach + width].flatten())
    atoms, codes = torch.stack(columns), torch.zeros(len(columns), dtype=image.dtype)
    squares = atoms.square().sum(1)
    left = image.flatten().clone()
    for _ in range(steps):
        for j in range(len(codes)):
            product = weight * (atoms[j] @ left + squares[j] * codes[j])
            new = product.sign() * (product.abs() - 1).clamp(min=0) / (weight * squares[j])
            left += atoms[j] * (codes[j] - new)
            codes[j] = new
    return codes.view(len(filters), height, width)


def test_one_layer_without_pooling_is_plain_convolutional_sparse_coding():
    filters, image, weight = unit_ball(drawn(2, 1, 3, 3)), drawn(4, 4, seed=4), 2.0
    expected = naive_sparse_code(image, filters, weight, 100)
    how = Reconstruction([DeconvolutionLayer(filters, PLAIN)])
    codes, _ = infer(image[None, None], how, Sparsity(weight, 600))
    torch.testing.assert_close(codes.values[0], expected, atol=1e-5, rtol=0)


def test_each_layer_has_its_own_weight():
    layers, images = two_layers().layers, drawn(3, 1, 8, 8, seed=4)
    first, second = infer_codes(layers, images, Sparsity(5.0, 8, sparser=10))
    lone, switches = infer(images, Reconstruction(layers[:1]), Sparsity(5.0, 8))
    above, _ = infer(images, Reconstruction(layers, [switches]), Sparsity(0.5, 8))
    assert torch.equal(first.codes, lone.values) and torch.equal(second.codes, above.values)
    how = Reconstruction(layers, [switches])
    learned = learn_layer(how, images, Learning(1, 1, Sparsity(5.0, 8, sparser=10)))
    error = how.with_filters(learned.layer.filters).down(above.values) - images
    assert learned.energy == pytest.approx([float(coding_energy(error, above.values, 0.5).mean())])


def test_codes_do_not_depend_on_the_images_beside_them():
    layers, images = two_layers().layers, drawn(3, 1, 8, 8, seed=4)
    together = infer_codes(layers, images, Sparsity(5.0, 8))
    alone = infer_codes(layers, images[1:2], Sparsity(5.0, 8))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.codes[1:2], other.codes)
        pooled = one.pooled(Pool())
        assert torch.equal(Pool().back(pooled, one.switches), one.codes), "at switches alone"


# ---- filters


def test_the_error_falls_in_every_step_of_the_filters_and_none_is_longer_than_1():
    how, images = two_layers(5), drawn(5, 1, 8, 8, seed=4)
    codes = drawn(5, 4, 4, 4, seed=5)
    state = FilterStep(how.top.filters, 1.0, float("inf"))
    errors = [float((how.down(codes) - images).square().sum())]
    for _ in range(15):
        state = filter_step(state, images, codes, how, batch=2)
        there = how.with_filters(state.filters)
        errors.append(float((there.down(codes) - images).square().sum()))
        assert state.error == pytest.approx(errors[-1])
        assert state.filters.flatten(1).norm(dim=1).max() <= 1 + 1e-12
    assert (np.diff(errors) <= 1e-9).all()
    assert errors[-1] < errors[0]


def planted(filters: Tensor, count: int, side: int, seed: int) -> Tensor:
    """Images of the filters at sparse places, each a few times."""
    dice = torch.Generator().manual_seed(seed)
    codes = torch.zeros(count, len(filters), side, side, dtype=torch.float64)
    for n, k in np.ndindex(count, len(filters)):
        row, column = torch.randint(3, side - 3, (2,), generator=dice).tolist()
        sign = 1 - 2 * int(torch.randint(2, (), generator=dice))
        codes[n, k, row, column] = sign * (1 + 2 * torch.rand((), generator=dice))
    return DeconvolutionLayer(filters, PLAIN).down(codes)


def likeness(filters: Tensor, learned: Tensor) -> Tensor:
    """|r| of every learned filter with every planted one, at the shift that fits best."""
    room = filters.shape[-1] - 1
    products = conv2d(pad(learned, (room,) * 4), filters).abs().flatten(2).amax(2)
    return products / learned.flatten(1).norm(dim=1)[:, None].clamp(min=1e-9)


def test_planted_filters_are_found():
    filters = unit_ball(1e6 * drawn(3, 1, 5, 5))
    images = planted(filters, 12, 20, seed=1)
    layer = DeconvolutionArchitecture((4,), 7, PLAIN).random_layer(0, channels=1, seed=0)
    begin = Reconstruction([DeconvolutionLayer(layer.filters.double(), PLAIN)])
    assert likeness(filters, begin.top.filters).amax(0).max() < 0.8
    learned = learn_layer(begin, images, Learning(20, 8, Sparsity(3.0, 8)))
    assert (likeness(filters, learned.layer.filters).amax(0) > 0.9).all()
    assert learned.energy[-1] < 0.5 * learned.energy[0]


# ---- around


def test_contrast_is_normalised_as_the_formula_says():
    image = drawn(1, 2, 16, 16).abs()
    found = contrast_normalised(image)
    reach = SIDE // 2
    line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * WIDTH**2))
    bell = np.outer(line, line)[None] / np.outer(line, line).sum() / 2

    def mean(values: np.ndarray) -> np.ndarray:
        wide = np.pad(values, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
        rows = [
            [(bell * wide[:, r : r + SIDE, c : c + SIDE]).sum() for c in range(16)]
            for r in range(16)
        ]
        return np.array(rows)

    centred = image[0].numpy() - mean(image[0].numpy())
    deviation = np.sqrt(mean(centred**2))
    expected = centred / np.maximum(deviation, deviation.mean())
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("maps", "side", "size", "words"),
    [
        ((), 7, 16, "for each layer"),
        ((4, 0), 7, 16, "for each layer"),
        ((4,), 6, 16, "odd side"),
        ((5,), 7, 16, "multiple of 2"),
        ((4, 4), 7, 18, "layer 2 are 9×9"),
    ],
)
def test_what_does_not_fall_into_whole_blocks_is_refused(
    maps: tuple[int, ...], side: int, size: int, words: str
):
    with pytest.raises(BadOption, match=words):
        DeconvolutionArchitecture(maps, side).check((size, size))
