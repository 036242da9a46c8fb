"""The blocks of `foreact.nn` once more, in NumPy and float64, written from their formulas: loops and einsums, no torch.

Each twin takes the weights of a module as `weights_of` gives them, arrays by name, and plain arrays. Where a formula is the same
for every token, head or place, the twin goes through them one by one, so that an error of shape cannot hide in a reshape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]


def weights_of(module: Any) -> Weights:
    """Parameters of a torch module by name, as float64."""
    return {name: p.detach().double().numpy() for name, p in module.named_parameters()}


def part(weights: Weights, name: str) -> Weights:
    """The weights of a child, by their names in it."""
    return {key[len(name) + 1 :]: value for key, value in weights.items() if key.startswith(name + ".")}


def count(weights: Weights, name: str) -> int:
    """How many children a list of modules has."""
    return len({key.split(".")[1] for key in weights if key.startswith(name + ".")})


def softmax(scores: Array) -> Array:
    """Of one row."""
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    return x * sigmoid(x)


def gelu(x: Array) -> Array:
    """x * Phi(x), exactly."""
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x: Array) -> Array:
    """Its approximation with tanh."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def linear(w: Weights, x: Array) -> Array:
    """W x + b of the last axis."""
    return np.einsum("oi,...i->...o", w["weight"], x) + w["bias"]


def layer_norm(x: Array, w: Weights | None = None) -> Array:
    """(x - mean) / sqrt(variance + 1e-5) of the last axis, times weight plus bias where there are any."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    normal = (x - mean) / np.sqrt(variance + 1e-5)
    return w["weight"] * normal + w["bias"] if w else normal


def _heads(q: Array, k: Array, v: Array, heads: int, *, causal: bool = False) -> Array:
    """softmax(q k / sqrt(d)) v, head after head and query after query; head i has the i-th part of the channels."""
    (N, D), M = q.shape, len(k)
    d = D // heads
    out = np.zeros((N, D))
    for head, n in product(range(heads), range(N)):
        own = slice(head * d, (head + 1) * d)
        seen = n + 1 if causal else M
        scores = np.array([q[n, own] @ k[m, own] / math.sqrt(d) for m in range(seen)])
        out[n, own] = sum(p * v[m, own] for m, p in enumerate(softmax(scores)))
    return out


def attention(w: Weights, x: Array, heads: int, *, causal: bool = False) -> Array:
    """Self-attention of (B, N, D): queries, keys and values are the three thirds of `qkv`."""
    D = x.shape[-1]
    qkv = linear(part(w, "qkv"), x)
    rows = [_heads(r[:, :D], r[:, D : 2 * D], r[:, 2 * D :], heads, causal=causal) for r in qkv]
    return linear(part(w, "out"), np.stack(rows))


def cross_attention(w: Weights, x: Array, context: Array, heads: int) -> Array:
    """Attention of (B, N, D) to (B, M, D): keys and values are the halves of `kv`."""
    D = x.shape[-1]
    q, kv = linear(part(w, "q"), x), linear(part(w, "kv"), context)
    rows = [_heads(a, b[:, :D], b[:, D:], heads) for a, b in zip(q, kv)]
    return linear(part(w, "out"), np.stack(rows))


def mlp(w: Weights, x: Array) -> Array:
    """Linear, GELU by tanh, linear."""
    return linear(part(w, "2"), gelu_tanh(linear(part(w, "0"), x)))


def block(w: Weights, x: Array, heads: int) -> Array:
    """x + attention(norm(x)), then x + mlp(norm(x))."""
    x = x + attention(part(w, "attention"), layer_norm(x), heads)
    return x + mlp(part(w, "mlp"), layer_norm(x))


def modulated_block(w: Weights, x: Array, vector: Array, heads: int, context: Array | None = None) -> Array:
    """adaLN-zero (DiT): the vector of a sample, (B, D), or of each of its tokens, (B, N, D), gives shift, scale and gate of
    attention, then those of the MLP, in this order.
    """
    B, N, D = x.shape
    six = np.zeros((B, N, 6 * D))
    for b, n in product(range(B), range(N)):
        six[b, n] = linear(part(w, "modulation"), silu(vector[b, n] if vector.ndim == 3 else vector[b]))
    shift1, scale1, gate1, shift2, scale2, gate2 = (six[..., i * D : (i + 1) * D] for i in range(6))
    x = x + gate1 * attention(part(w, "attention"), (1 + scale1) * layer_norm(x) + shift1, heads)
    if context is not None:
        x = x + cross_attention(part(w, "cross"), layer_norm(x, part(w, "norm_cross")), context, heads)
    return x + gate2 * mlp(part(w, "mlp"), (1 + scale2) * layer_norm(x) + shift2)


def space_time_block(w: Weights, x: Array, heads: int, *, causal: bool) -> Array:
    """(B, T, N, D): attention among the tokens of a frame, then among the frames of a place, then the MLP."""
    B, T, N, _ = x.shape
    normal = layer_norm(x, part(w, "norm_space"))
    x = x + np.stack([[attention(part(w, "space"), normal[b, t][None], heads)[0] for t in range(T)] for b in range(B)])
    normal, change = layer_norm(x, part(w, "norm_time")), np.zeros_like(x)
    for b, n in product(range(B), range(N)):
        change[b, :, n] = attention(part(w, "time"), normal[b, :, n][None], heads, causal=causal)[0]
    x = x + change
    return x + mlp(part(w, "mlp"), layer_norm(x, part(w, "norm_mlp")))


def action_token_encoder(w: Weights, tokens_t: Array, tokens_th: Array, grid: tuple[int, int], heads: int, *, causal: bool) -> Array:  # fmt: skip
    """Each frame is [K action tokens | its patches, normalised, projected, normalised, with codes], plus the frame's own token."""
    dim = w["actions"].shape[1]
    frames = []
    for index, tokens in enumerate((tokens_t, tokens_th)):
        projected = linear(part(w, "project.1"), layer_norm(tokens, part(w, "project.0")))
        patches = layer_norm(projected, part(w, "project.2")) + position_codes(grid, dim)
        whole = [np.concatenate([w["actions"], p]) for p in patches]
        frames.append(np.stack(whole) + w["frames"][index])
    x = np.stack(frames, axis=1)
    for index in range(count(w, "blocks")):
        x = space_time_block(part(w, f"blocks.{index}"), x, heads, causal=causal)
    return layer_norm(x[:, 1, : len(w["actions"])], part(w, "norm"))


def position_codes(grid: tuple[int, int], dim: int, *, fastest: float = 1.0, ratio: float = 10_000.0) -> Array:
    """Of place r, c: sin and cos of r times each of dim / 4 frequencies, then of c; frequency i is fastest / ratio^(i / (dim / 4))."""
    frequencies = [fastest / ratio ** (i / (dim // 4)) for i in range(dim // 4)]
    codes = [
        [function(at * f) for at in (r, c) for function in (math.sin, math.cos) for f in frequencies]
        for r, c in product(range(grid[0]), range(grid[1]))
    ]
    return np.array(codes)


def merged(tokens: Array, grid: tuple[int, int], side: int) -> Array:
    """Each square of side x side patches as one token: its patches row by row, one after the other."""
    squares = []
    for r, c in product(range(0, grid[0], side), range(0, grid[1], side)):
        members = [(r + i) * grid[1] + c + j for i in range(side) for j in range(side)]
        squares.append(np.concatenate([tokens[:, m] for m in members], axis=-1))
    return np.stack(squares, axis=1)


def unmerged(squares: Array, grid: tuple[int, int], side: int) -> Array:
    """The patches back in their places."""
    channels = squares.shape[2] // side**2
    out = np.zeros((len(squares), grid[0] * grid[1], channels))
    for r, c in product(range(grid[0]), range(grid[1])):
        square = (r // side) * (grid[1] // side) + c // side
        first = ((r % side) * side + c % side) * channels
        out[:, r * grid[1] + c] = squares[:, square, first : first + channels]
    return out


def patch_embedding(w: Weights, tokens: Array, grid: tuple[int, int], scale: float, *, merge: int = 1) -> Array:
    """Linear of the merged patches plus `scale` times codes whose wavelengths run from 4 (merged) patches to 4 times the grid."""
    places = (grid[0] // merge, grid[1] // merge)
    codes = position_codes(places, len(w["linear.bias"]), fastest=2 * math.pi / 4, ratio=max(places))
    return linear(part(w, "linear"), merged(tokens, grid, merge)) + scale * codes


def time_embedding(w: Weights, times: Array, frequencies: int) -> Array:
    """cos and sin of 1000 t times frequencies 10000^(-i / count), through linear, SiLU, linear."""
    rates = np.array([10_000 ** (-i / frequencies) for i in range(frequencies)])
    waves = [np.concatenate([np.cos(1000 * t * rates), np.sin(1000 * t * rates)]) for t in times]
    return linear(part(w, "mlp.2"), silu(linear(part(w, "mlp.0"), np.stack(waves))))


def padded_chunk(actions: Array, lengths: Array, mean: Array, std: Array) -> tuple[Array, Array]:
    """Standardised actions, each chunk's last one repeated to its end, and which ones are the chunk's own."""
    out, mask = np.zeros(actions.shape), np.zeros(actions.shape[:2], dtype=bool)
    for b, h in product(*(range(s) for s in mask.shape)):
        out[b, h] = (actions[b, min(h, lengths[b] - 1)] - mean) / std
        mask[b, h] = h < lengths[b]
    return out, mask


def padded_mlp(w: Weights, actions: Array, mask: NDArray[np.bool_]) -> Array:
    """Each action followed by 1 or 0, all in one row, through linear, exact GELU, linear."""
    rows = [np.concatenate([[*a, float(m)] for a, m in zip(chunk, own)]) for chunk, own in zip(actions, mask)]
    return linear(part(w, "mlp.2"), gelu(linear(part(w, "mlp.0"), np.stack(rows))))


def recurrent_encoder(w: Weights, actions: Array, mask: NDArray[np.bool_]) -> Array:
    """An MLP of each action, then a gated recurrent unit from zeros to the last action of the chunk."""
    out = []
    for chunk, own in zip(actions, mask):
        D = w["gru.weight_hh_l0"].shape[1]
        state = np.zeros(D)
        for action in chunk[: own.sum()]:
            x = linear(part(w, "step.2"), gelu(linear(part(w, "step.0"), action)))
            inner = w["gru.weight_ih_l0"] @ x + w["gru.bias_ih_l0"]
            before = w["gru.weight_hh_l0"] @ state + w["gru.bias_hh_l0"]
            reset, update = sigmoid(inner[:D] + before[:D]), sigmoid(inner[D : 2 * D] + before[D : 2 * D])
            new = np.tanh(inner[2 * D :] + reset * before[2 * D :])
            state = (1 - update) * new + update * state
        out.append(state)
    return np.stack(out)


def token_network(
    w: Weights,
    tokens: Array,
    actions: Array,
    mask: NDArray[np.bool_],
    *,
    grid: tuple[int, int],
    heads: int,
    scale: float,
    spread: bool,
    merge: int = 1,
    vector: Array | None = None,
) -> tuple[Array, Array]:
    """[queries | patches | action] through the blocks and a norm: what becomes of the queries, and of the patches."""
    patches, action = (
        patch_embedding(part(w, "project"), tokens, grid, scale, merge=merge),
        padded_mlp(part(w, "embed_actions"), actions, mask),
    )
    queries = w.get("queries", np.zeros((0, action.shape[1])))
    x = np.stack([np.concatenate([queries, p, a[None]]) + (a if spread else 0) for p, a in zip(patches, action)])
    for index in range(count(w, "blocks")):
        own = part(w, f"blocks.{index}")
        x = block(own, x, heads) if vector is None else modulated_block(own, x, vector, heads)
    x = layer_norm(x, part(w, "norm"))
    return x[:, : len(queries)], x[:, len(queries) : len(queries) + patches.shape[1]]


def latent_decoder(
    w: Weights, tokens: Array, z: Array, *, grid: tuple[int, int], heads: int, scale: float, merge: int
) -> Array:
    """[z projected, plus its slots | patches] through blocks, norm and head; the patches come out."""
    slots = linear(part(w, "project_z"), z) + w["slots"]
    x = np.concatenate([slots, patch_embedding(part(w, "project"), tokens, grid, scale, merge=merge)], axis=1)
    for index in range(count(w, "blocks")):
        x = block(part(w, f"blocks.{index}"), x, heads)
    out = linear(part(w, "out"), layer_norm(x[:, z.shape[1] :], part(w, "norm")))
    return unmerged(out, grid, merge)


def solve(velocity: Callable[[Array, float], Array], start: Array, steps: int, solver: str, shift: float) -> Array:
    """From 0 to 1 on a grid of noise levels t = 1 - tau moved to shift t / (1 + (shift - 1) t)."""
    levels = [1 - i / steps for i in range(steps + 1)]
    grid = [1 - shift * t / (1 + (shift - 1) * t) for t in levels]
    z = start
    for now, then in pairwise(grid):
        h, k1 = then - now, velocity(z, now)
        if solver == "euler":
            z = z + h * k1
        elif solver == "midpoint":
            z = z + h * velocity(z + h / 2 * k1, now + h / 2)
        else:
            z = z + h / 2 * (k1 + velocity(z + h * k1, then))
    return z


def group_norm(w: Weights, x: Array, groups: int) -> Array:
    """(C, h, w), each group of channels over its channels and places."""
    out = np.zeros_like(x)
    size = len(x) // groups
    for g in range(groups):
        own = slice(g * size, (g + 1) * size)
        out[own] = (x[own] - x[own].mean()) / math.sqrt(x[own].var() + 1e-5)
    return out * w["weight"][:, None, None] + w["bias"][:, None, None]


def convolution(w: Weights, x: Array, *, stride: int = 1) -> Array:
    """(C, h, w) with a kernel of odd sides and zeros around, so that stride 1 keeps the size."""
    side = w["weight"].shape[-1]
    padded = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    rows, columns = (range(0, s, stride) for s in x.shape[1:])
    out = np.zeros((len(w["weight"]), len(rows), len(columns)))
    for (i, r), (j, c) in product(enumerate(rows), enumerate(columns)):
        out[:, i, j] = np.einsum("oikl,ikl->o", w["weight"], padded[:, r : r + side, c : c + side]) + w["bias"]
    return out


def groups_of(channels: int) -> int:
    """Eight groups, or fewer, so that a group has eight channels."""
    return 8 if channels >= 64 else max(1, channels // 8)


def causal_convolution(w: Weights, x: Array) -> Array:
    """(T, C, h, w): each place from SiLU of the norm of two frames before, one before, and this one; zeros before the first."""
    seen = [silu(group_norm(part(w, "norm"), frame, groups_of(len(frame)))) for frame in x]
    seen = [np.zeros_like(x[0])] * 2 + seen
    return np.stack([convolution(part(w, "mix"), np.concatenate(seen[t : t + 3])) for t in range(len(x))])


def stage(w: Weights, x: Array, embedding: Array, heads: int) -> Array:
    """(T, C, h, w) and (T, D): residual block of each frame, convolution over time, space-time blocks if there are any."""
    frames = []
    for frame, vector in zip(x, embedding):
        added = linear(part(w, "embed"), silu(vector))[:, None, None]
        hidden = convolution(part(w, "conv1"), silu(group_norm(part(w, "norm1"), frame, groups_of(len(frame))))) + added
        around = convolution(part(w, "skip"), frame) if "skip.weight" in w else frame
        normal = group_norm(part(w, "norm2"), hidden, groups_of(len(hidden)))
        frames.append(around + convolution(part(w, "conv2"), silu(normal)))
    x = np.stack(frames)
    x = x + causal_convolution(part(w, "over_time"), x)
    for index in range(count(w, "blocks")):
        tokens = x.reshape(*x.shape[:2], -1).transpose(0, 2, 1)
        tokens = space_time_block(part(w, f"blocks.{index}"), tokens[None], heads, causal=True)[0]
        x = tokens.transpose(0, 2, 1).reshape(x.shape)
    return x


def video_unet(w: Weights, x: Array, embedding: Array, heads: int) -> Array:
    """(T, C, h, w) and (T, D): down, middle and up with skips, plus the input's first channels times a factor per frame."""

    def level(name: str, at: Array) -> Array:
        for index in range(count(part(w, name), "stages")):
            at = stage(part(w, f"{name}.stages.{index}"), at, embedding, heads)
        return at

    def each(name: str, at: Array, *, stride: int = 1) -> Array:
        return np.stack([convolution(part(w, name), frame, stride=stride) for frame in at])

    levels = count(w, "down")
    at, skips = each("first", x), []
    for index in range(levels):
        at = level(f"down.{index}", each(f"coarsen.{index - 1}", at, stride=2) if index else at)
        skips.append(at)
    at = stage(part(w, "middle"), at, embedding, heads)
    for index in range(levels):
        if index:
            at = each(f"refine.{index - 1}", at.repeat(2, axis=2).repeat(2, axis=3))
        at = level(f"up.{index}", np.concatenate([at, skips.pop()], axis=1))
    factors = linear(part(w, "around"), silu(embedding))
    normal = np.stack([silu(group_norm(part(w, "norm"), frame, groups_of(len(frame)))) for frame in at])
    return each("out", normal) + factors[..., None, None] * x[:, : factors.shape[1]]
