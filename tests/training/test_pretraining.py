"""Layers that learn without labels: autoencoders, greedy, from any step on to the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import BadOption, FolderInUse, NonFinite
from convscope.models.zoo import open_model
from convscope.training import pretraining
from convscope.training.autoencoder import Autoencoder
from convscope.training.checkpoint import PRETRAINING, RunStatus, read_run
from convscope.training.loop import CheckpointPolicy, train_on
from convscope.training.recipe import SMALL
from trainee import RECIPE, TINY, lesson

PRETRAINED = replace(RECIPE, epochs=1, keep_epochs=(1,), pretrain=2, pretrain_rate=1e-2)
FEW, STEPS = lesson(20), 3  # steps of an epoch
LAYERS = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run that was never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train_on(TINY, FEW, PRETRAINED, out)
    return out


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 4),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 3, (3, 2), stride=(3, 2), dilation=(2, 1)),
    ],
)
def test_the_way_back_is_the_layers_adjoint(layer):
    layer, generator = layer.double(), torch.Generator().manual_seed(0)
    encoder = Autoencoder(layer)
    shape = (2, 6) if isinstance(layer, nn.Linear) else (2, 4, 11, 8)
    values = torch.randn(shape, dtype=torch.float64, generator=generator)
    linear = layer(values) - layer(torch.zeros_like(values))
    codes = torch.randn(linear.shape, dtype=torch.float64, generator=generator)
    back = encoder.rebuilt(codes, values.shape)
    assert back.shape == values.shape
    assert (linear * codes).sum().item() == pytest.approx((values * back).sum().item(), rel=1e-12)


def test_a_linear_one_spans_the_principal_components():
    generator = torch.Generator().manual_seed(0)
    turned, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))
    spread = torch.tensor([3.0, 2.0, 1.5, 0.5, 0.4, 0.3], dtype=torch.float64)
    values = torch.randn(200, 6, generator=generator, dtype=torch.float64) * spread @ turned.T
    encoder = Autoencoder(nn.Linear(6, 3).double(), activation=lambda codes: codes)
    with torch.no_grad():
        encoder.layer.weight.copy_(torch.randn(3, 6, generator=generator) / 3)
    optimiser = torch.optim.LBFGS(
        encoder.parameters(), max_iter=500, line_search_fn="strong_wolfe",
        tolerance_grad=1e-12, tolerance_change=1e-15,
    )  # fmt: skip

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        error = (encoder(values, torch.Generator()) - values).square().sum(1).mean()
        error.backward()
        return error

    optimiser.step(loss)
    centred = values - values.mean(0)
    components = torch.linalg.svd(centred).Vh[:3]
    found, _ = torch.linalg.qr(encoder.layer.weight.detach().T)
    cosines = torch.linalg.svdvals(components @ found)
    assert cosines.min() > 1 - 1e-8  # of the principal angles
    assert loss().item() == pytest.approx(
        float((centred - centred @ components.T @ components).square().sum(1).mean()), rel=1e-6
    )


def test_corruption_sets_its_share_to_0():
    layer = nn.Linear(500, 500)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(500))
        layer.bias.zero_()
    values = torch.rand(40, 500) + 1
    rebuilt = Autoencoder(layer, corruption=0.25)(values, torch.Generator().manual_seed(0))
    gone = rebuilt == 0
    assert torch.equal(rebuilt[~gone], values[~gone])
    assert gone.float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_every_layer_but_the_last_learns_more_than_the_mean(whole: Path):
    run = read_run(whole)
    assert [each.layer for each in run.pretraining] == LAYERS
    assert all(len(each.losses) == 2 for each in run.pretraining)
    assert all(each.losses[1] < each.losses[0] for each in run.pretraining)
    assert not (whole / PRETRAINING).exists()
    kept = [(each.epoch, each.file) for each in run.checkpoints]
    assert kept[0] == (0, "epoch-0000.safetensors")  # though the recipe keeps epoch 1 only
    start = open_model(f"zfnet-small@{whole / 'epoch-0000.safetensors'}").module
    assert all(weight.isfinite().all() for weight in start.parameters())


def test_training_goes_on_from_answers_as_large_as_those_of_random_weights(
    whole: Path, tmp_path: Path
):
    train_on(TINY, FEW, replace(PRETRAINED, keep_epochs=(0,), pretrain=0), tmp_path / "random")
    sizes = []
    for run in (whole, tmp_path / "random"):
        model = open_model(f"zfnet-small@{run / 'epoch-0000.safetensors'}")
        images = model.preprocess.tensors(FEW.pictures.pixels[:, 2:30, 2:30].numpy())
        values = model.network().values(images, [f"relu{number}" for number in range(1, 8)])
        sizes.append([float(value.square().mean().sqrt()) for value in values.values()])
    for learned, random in zip(*sizes, strict=True):
        assert 1 / 4 < learned / random < 4


def test_a_layer_that_says_nothing_is_as_good_as_the_images_own_mean(tmp_path: Path):
    """By hand: it rebuilds 0, whose error is the squares; the mean's is the variance."""
    still = replace(
        PRETRAINED, pretrain=1, pretrain_rate=1e-12, crops=False, flips=False, corruption=0.0
    )
    done = train_on(TINY, uncropped(), still, tmp_path / "run")
    data = uncropped()
    images = data.pictures.pixels.double().numpy() - data.mean.double().numpy()
    expected = (images**2).sum() / ((images - images.mean((0, 1, 2))) ** 2).sum()
    assert done.pretraining[0].losses[0] == pytest.approx(expected, rel=1e-3)


def uncropped():
    whole = FEW
    tested = replace(whole.validation, pixels=whole.validation.pixels[:, 2:30, 2:30].contiguous())
    pixels = whole.pictures.pixels[:, 2:30, 2:30].contiguous()
    mean = torch.from_numpy(np.random.default_rng(0).uniform(60, 150, (28, 28, 3))).float()
    return replace(
        whole, pictures=replace(whole.pictures, pixels=pixels), validation=tested, mean=mean
    )


class Stop(Exception):
    """In place of a kill, at a chosen step."""


@pytest.mark.parametrize("step", [STEPS, 3 * STEPS + 1, 2 * 7 * STEPS - 1])
def test_stopped_before_any_step_it_ends_with_the_same_bytes(
    whole, tmp_path: Path, monkeypatch, step: int
):
    taken, count = pretraining._Pretraining._step, 0

    def stopping(self, *arguments):
        nonlocal count
        if count == step:
            raise Stop
        count += 1
        return taken(self, *arguments)

    monkeypatch.setattr(pretraining._Pretraining, "_step", stopping)
    keeping = CheckpointPolicy(resume=True, every=0.0)
    out = tmp_path / "run"
    with pytest.raises(Stop):
        train_on(TINY, FEW, PRETRAINED, out, keeping=keeping)
    assert (out / PRETRAINING).exists()
    with pytest.raises(FolderInUse, match="corruption is"):
        train_on(TINY, FEW, replace(PRETRAINED, corruption=0.5), out, keeping=keeping)
    monkeypatch.undo()
    train_on(TINY, FEW, PRETRAINED, out, keeping=keeping)
    assert sorted(path.name for path in out.iterdir()) == sorted(p.name for p in whole.iterdir())
    for path in whole.glob("*.safetensors"):
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name
    assert read_run(out).pretraining == read_run(whole).pretraining


def test_a_loss_that_is_not_finite_names_the_layer(tmp_path: Path):
    wild = replace(PRETRAINED, pretrain_rate=1e30)
    with pytest.raises(NonFinite, match=r"pre-training conv1: .* pretrain_rate"):
        train_on(TINY, FEW, wild, tmp_path / "run")
    assert read_run(tmp_path / "run").status is RunStatus.DIVERGED


def test_a_recipe_without_it_is_the_same_as_before_there_was_any():
    assert not {"pretrain", "corruption", "pretrain_rate"} & set(SMALL.to_dict())
    assert type(SMALL).from_dict(replace(SMALL, pretrain=3).to_dict()).pretrain == 3
    assert SMALL.difference(replace(SMALL, pretrain=3)) == "pretrain is 0 there, 3 now"
    with pytest.raises(BadOption, match="corruption is 1"):
        replace(SMALL, corruption=1.0)
