"""Tiny transformers, as people write them: 2 blocks, 16 channels, a grid of 4 x 4 tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["NETWORKS", "SHAPE", "opened_module"]

SHAPE = (3, 16, 16)
WIDTH, HEADS, TOKENS = 16, 2, 16


class Fused(nn.Module):
    """Heads by unbind, and attention as PyTorch's one function."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        return self.proj(self.attend(*qkv.unbind(0)).transpose(1, 2).reshape(n, length, -1))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


class Spelled(Fused):
    """The same written out."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1) @ v


class ByTorch(nn.Module):
    """nn.MultiheadAttention, which puts the tokens before the images and the heads beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]  # type: ignore[no-any-return]


class GlobalQuery(Fused):
    """One query for all windows of an image, as GCViT has it; keys and values as the first axis."""

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        qkv = self.qkv(x)[:, 1:].reshape(n * 4, TOKENS // 4, 3 * WIDTH)  # windows of 4 tokens
        kv = (
            qkv[..., WIDTH:]
            .reshape(qkv.shape[0], -1, 2, HEADS, WIDTH // HEADS)
            .permute(2, 0, 3, 1, 4)
        )
        query = self.qkv(x)[:, :4, :WIDTH].repeat_interleave(1, dim=0)
        query = query.repeat_interleave(qkv.shape[0] // query.shape[0], dim=0)
        query = query.reshape(qkv.shape[0], -1, HEADS, WIDTH // HEADS).transpose(1, 2)
        found = self.attend(query, *kv.unbind(0)).transpose(1, 2).reshape(n, TOKENS, WIDTH)
        return self.proj(torch.cat([x[:, :1], found], 1))


class Acrossed(nn.Module):
    """A mistake: the tokens are taken for the images, so that images attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, HEADS, batch_first=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(WIDTH), attention, nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """A class token before the grid's tokens; the head reads it."""

    def __init__(self, attention: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.places = nn.Parameter(torch.randn(1, 1 + TOKENS, WIDTH))
        self.blocks = nn.Sequential(*(Block(attention()) for _ in range(2)))
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.blocks(x)[:, 0])  # type: ignore[no-any-return]


class ShiftedWindows(nn.Module):
    """Windows of 2 x 2 tokens beside the images, shifted by one and back; channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Conv2d(3, WIDTH, 4, 4), nn.Linear(WIDTH, 5)
        self.plain, self.shifted = Block(Spelled()), Block(Spelled())
        self.bias = nn.Parameter(torch.randn(9, HEADS))
        self.merge = nn.Linear(4 * WIDTH, WIDTH)

    def windows(self, x: Tensor, block: nn.Module, shift: int) -> Tensor:
        n, rows, columns, channels = x.shape
        x = torch.roll(x, (-shift, -shift), (1, 2))
        x = x.view(n, rows // 2, 2, columns // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
        x = block(x.reshape(-1, 4, channels))
        x = x.view(-1, rows // 2, columns // 2, 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
        return torch.roll(x.reshape(n, rows, columns, channels), (shift, shift), (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).permute(0, 2, 3, 1)
        x = x + self.windows(x, self.plain, 0)
        x = x + self.windows(x, self.shifted, 1)
        n, rows, columns, channels = x.shape
        x = x.reshape(n, rows // 2, 2, columns // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
        return self.head(self.merge(x.flatten(3)).mean((1, 2)))  # type: ignore[no-any-return]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "fused": lambda: Vit(Fused),
    "spelled": lambda: Vit(Spelled),
    "global query": lambda: Vit(GlobalQuery),
    "by torch": lambda: Vit(ByTorch),
    "shifted windows": ShiftedWindows,
}


def opened_module(name: str) -> nn.Module:
    """With the same weights for fused and spelled."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETWORKS[name]().double().eval()
