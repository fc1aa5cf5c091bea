"""A vision-language model small enough to train on the spot: patches of a picture, then four coordinate tokens.

36 patches of 4 by 4 pixels are the prefix, whose tokens see each other; the answer is read causally. It answers with
x1, y1, x2, y2 in pixels, one token each out of 0 to 24. As text that is `<answer>(x1,y1),(x2,y2)</answer>`, so that it
learns from the same rewards as any other model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from firsthand.errors import InputError
from firsthand.rl.policy import Samples
from firsthand.training.visual_rft.answers import parse_box
from firsthand.training.visual_rft.scenes import SIDE

__all__ = ["BoxPolicy", "TinyVLM"]

PATCH = 4
BINS = SIDE + 1
LENGTH = 4
_Kept = tuple[Tensor, Tensor]  # keys and values (N, H, n, D) of what a block has read


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None, kept: _Kept | None = None) -> tuple[Tensor, _Kept]:
        """`x` (N, n, d) after keys and values of what was read before; the state, and all keys and values."""
        n, length, width = x.shape
        queries, keys, values = self._split(x, 0)
        if kept is not None:
            keys, values = torch.cat([kept[0], keys], 2), torch.cat([kept[1], values], 2)
        seen = nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        x = x + self.out(seen.transpose(1, 2).reshape(n, length, width))
        return x + self.feed(self.after(x)), (keys, values)

    def read(self, x: Tensor) -> _Kept:
        """Keys and values of `x` alone: of the last block nothing else of a picture is asked for."""
        keys, values = self._split(x, 1)
        return keys, values

    def _split(self, x: Tensor, first: int) -> Tensor:
        """Queries, keys and values (3, N, H, n, D) of `x` (N, n, d), from the `first` on."""
        n, length, width = x.shape
        parts = nn.functional.linear(
            self.before(x), self.mix.weight[first * width :], self.mix.bias[first * width :]
        )
        return parts.view(n, length, 3 - first, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)


class TinyVLM(nn.Module):
    """0.35 M weights at the default sizes; they depend on the sizes and on `seed` alone."""

    def __init__(self, *, width: int = 96, layers: int = 3, heads: int = 4, seed: int = 0) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"width must be a multiple of heads, got {width} and {heads}")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.patches = nn.Linear(PATCH * PATCH, width)
            self.places = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + LENGTH, width) * 0.02)
            self.start = nn.Parameter(torch.randn(width) * 0.02)
            self.numbers = nn.Embedding(BINS, width)
            self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, BINS)
        self.prefix = (SIDE // PATCH) ** 2

    def see(self, pictures: Tensor) -> Tensor:
        """Patch tokens (N, 36, d) of pictures (N, 24, 24)."""
        cut = pictures.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).flatten(3).flatten(1, 2)
        found: Tensor = self.patches(cut) + self.places[: self.prefix]
        return found

    def _answer(self, tokens: Tensor) -> Tensor:
        """Inputs (N, T, d) that predict each of the tokens (N, T): the start, and the tokens before."""
        first = self.start.expand(len(tokens), 1, -1)
        x = torch.cat([first, self.numbers(tokens[:, :-1])], 1)
        return x + self.places[self.prefix : self.prefix + x.shape[1]]

    def _read(self, pictures: Tensor) -> list[_Kept]:
        """What each block keeps of pictures (N, 24, 24), whose tokens see each other."""
        x = self.see(pictures)
        *blocks, last = cast(list[_Block], list(self.blocks))
        caches = []
        for block in blocks:
            x, kept = block(x, None)
            caches.append(kept)
        return [*caches, last.read(x)]

    def _seen(self, own: Tensor) -> Tensor:
        """What each of n tokens of answers reads: the picture, and of their m tokens what `own` (n, m) says."""
        return torch.cat([own.new_ones((len(own), self.prefix)), own], 1).bool()

    def forward(self, pictures: Tensor, tokens: Tensor, rows: Tensor | None = None) -> Tensor:
        """Logits (N, T, 25) of each of the answers' tokens (N, T), given a picture and the tokens before.

        `rows` (N,) says which picture each answer is to, which is read once for all of them; without, one is to one.
        """
        length = tokens.shape[1]
        if rows is None:
            rows = torch.arange(len(tokens))
        place = (rows[:, None] == rows).tril(-1).sum(1)  # of an answer among those to its picture
        most = int(place.max()) + 1
        laid = tokens.new_zeros((len(pictures), most, length))
        laid[rows, place] = tokens
        x = self._answer(laid.flatten(0, 1)).view(len(pictures), most * length, -1)
        mask = self._seen(torch.kron(torch.eye(most), torch.ones(length, length).tril()))
        for block, kept in zip(self.blocks, self._read(pictures), strict=True):
            x, _ = block(x, mask, kept)
        logits: Tensor = self.head(self.norm(x)).view(len(pictures), most, length, -1)[rows, place]
        return logits

    @torch.no_grad()
    def sample(
        self, pictures: Tensor, group_size: int, temperature: float, generator: torch.Generator
    ) -> Tensor:
        """Answers (N·G, 4); the pictures are read once, whatever the group's size."""
        caches = self._read(pictures)
        x = self.start.expand(len(pictures), group_size, -1)
        tokens: list[Tensor] = []
        for place in range(LENGTH):
            x = x + self.places[self.prefix + place]
            mask = self._seen(torch.eye(group_size).repeat(1, place + 1))
            for number, block in enumerate(self.blocks):
                x, caches[number] = block(x, mask, caches[number])
            logits = self.head(self.norm(x)).flatten(0, 1)
            if temperature == 0:
                chosen = logits.argmax(1)
            else:
                chosen = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]
            tokens.append(chosen)
            x = self.numbers(chosen).view(len(pictures), group_size, -1)
        return torch.stack(tokens, 1)


class BoxPolicy:
    """A `TinyVLM` as a policy. Rows have `picture` (24, 24); answers are boxes as text."""

    def __init__(self, model: TinyVLM) -> None:
        self.model = model

    @property
    def module(self) -> nn.Module:
        """The model."""
        return self.model

    def _inputs(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        missing = [place for place, row in enumerate(rows) if "picture" not in row]
        if missing:
            raise InputError(f"row {missing[0]} has no picture")
        return {"pictures": torch.stack([torch.as_tensor(row["picture"]) for row in rows])}

    def sample(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        group_size: int,
        max_new_tokens: int = LENGTH,
        temperature: float = 1.0,
        generator: torch.Generator,
    ) -> Samples:
        """As `Policy.sample`; an answer always has four tokens."""
        inputs = self._inputs(rows)
        tokens = self.model.sample(inputs["pictures"], group_size, temperature, generator)
        none = torch.zeros((len(rows), 0), dtype=torch.long)
        to = torch.arange(len(rows)).repeat_interleave(group_size)
        return Samples(none, none, tokens, torch.ones_like(tokens), to, inputs)

    def logprobs(
        self, samples: Samples, *, temperature: float = 1.0, entropy_grad: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As `Policy.logprobs`."""
        assert samples.inputs is not None
        logits = self.model(samples.inputs["pictures"], samples.tokens, samples.rows)
        every = (logits / temperature).log_softmax(-1)
        chosen = every.gather(-1, samples.tokens[..., None])[..., 0]
        with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
            entropy = -(every.exp() * every).sum(-1)
        return chosen, entropy

    def texts(self, samples: Samples) -> list[str]:
        """As `Policy.texts`."""
        return [f"<answer>({a},{b}),({c},{d})</answer>" for a, b, c, d in samples.tokens.tolist()]

    def teach(self, rows: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> Samples:
        """As `Policy.teach`; raises `InputError` for an answer that is no box of whole pixels."""
        tokens = []
        for place, answer in enumerate(answers):
            box = parse_box(answer)
            if box is None or any(not edge.is_integer() or not 0 <= edge < BINS for edge in box):
                raise InputError(f"answer {place} is no box of pixels from 0 to {BINS - 1}: {answer!r}")
            tokens.append([int(edge) for edge in box])
        none = torch.zeros((len(rows), 0), dtype=torch.long)
        found = torch.tensor(tokens)
        return Samples(none, none, found, torch.ones_like(found), torch.arange(len(rows)), self._inputs(rows))
