"""Muon: steps along the orthogonalised momentum of weight matrices.

K. Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024). With the gradient G of a matrix W:

    M <- 0.95 M + 0.05 G,   U = 0.05 G + 0.95 M   (Nesterov)
    O = U / |U|, then some times  O <- a O + b (O O^T) O + c (O O^T)^2 O   (Newton-Schulz)
    W <- (1 - lr decay) W - 0.2 lr sqrt(max(rows, columns)) O   (the scale of Moonlight, arXiv:2502.16982)

That is `torch.optim.Muon`, whose state this one shares; it is cheaper. Products are in bf16 only where that pays. And each
iteration multiplies O by a polynomial of its Gram matrix, so that several of them make one polynomial Q, by products that
are small and square, before O is multiplied once (J. Zhang, N. Amsel, B. Chen, T. Dao, Gram Newton-Schulz, 2026). In bf16
the Gram matrix has to be made anew after three iterations, because each amplifies its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from foreact.core.precision import bf16_pays

Coefficients = Sequence[tuple[float, float, float]]
"""(a, b, c) of each iteration."""

NEWTON_SCHULZ: Coefficients = ((3.4445, -4.7750, 2.0315),) * 5
"""Jordan's: steep at 0, and all but 0 ends between 0.7 and 1.2."""

_EPS = 1e-7
_SAFE_IN_BF16 = 3
_SQUARE = 1.5  # the longer side by the shorter, up to which Q takes more products than it saves


class Muon(torch.optim.Optimizer):
    """Muon for matrices (rows, columns).

    Args:
        params: matrices, or groups of them.
        lr: of steps whose root mean square would be AdamW's, 0.2.
        weight_decay: decoupled from the gradient.
        momentum: decay of the gradients' moving average.
        coefficients: of the iterations.
        bf16: whether their products are in bf16; where that is faster if None.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        *,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        coefficients: Coefficients = NEWTON_SCHULZ,
        bf16: bool | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.coefficients, self.bf16 = coefficients, bf16

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every matrix that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, decay = group["lr"], group["weight_decay"]
            for parameter in (p for p in group["params"] if p.grad is not None):
                direction = self.direction(parameter, group["momentum"])
                if decay:
                    parameter.mul_(1 - lr * decay)
                parameter.add_(direction, alpha=-0.2 * lr * math.sqrt(max(parameter.shape)))
        return loss

    def direction(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """O (rows, columns), of the momentum that the gradient has been added to."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer: Tensor = state["momentum_buffer"]
        buffer.lerp_(gradient, 1 - momentum)
        bf16 = bf16_pays(gradient.device.type) if self.bf16 is None else self.bf16
        return orthogonalise(gradient.lerp(buffer, momentum), self.coefficients, bf16=bf16)


def orthogonalise(matrix: Tensor, coefficients: Coefficients = NEWTON_SCHULZ, *, bf16: bool = False) -> Tensor:
    """The matrix (rows, columns) with its singular values drawn towards 1; in bf16 if it is made in it.

    Multiplied from its shorter side, where it stands, so that no product is transposed in memory.
    """
    x = (matrix / matrix.norm().clamp_min(_EPS)).to(torch.bfloat16 if bf16 else matrix.dtype)
    wide = x.shape[0] <= x.shape[1]
    for part in _parts(coefficients, max(x.shape) / min(x.shape), bf16=bf16):
        q = _polynomial(x @ x.T if wide else x.T @ x, part)
        x = q @ x if wide else x @ q
    return x


def _parts(coefficients: Coefficients, ratio: float, *, bf16: bool) -> Iterator[Coefficients]:
    """The iterations that share a Gram matrix."""
    longest = 1 if ratio <= _SQUARE else _SAFE_IN_BF16 if bf16 else len(coefficients)
    return (coefficients[start : start + longest] for start in range(0, len(coefficients), longest))


def _polynomial(gram: Tensor, coefficients: Coefficients) -> Tensor:
    """Q (n, n) of G = X X^T, so that Q X is X after these iterations.

    Q <- P Q and G <- P G P, with P = a I + b G + c G^2 of each; all of them commute.
    """
    factor = product = _factor(gram, *coefficients[0])
    for abc in coefficients[1:]:
        gram = factor @ (factor @ gram)
        factor = _factor(gram, *abc)
        product = factor @ product
    return product


def _factor(gram: Tensor, a: float, b: float, c: float) -> Tensor:
    """P = a I + b G + c G^2, (n, n)."""
    factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor
