"""Which tokens a model works on: the identity that encoder, cache, models and decoders compare."""

from __future__ import annotations

from dataclasses import dataclass, field

from foreact.core.errors import ForeactError


@dataclass(frozen=True, kw_only=True)
class TokenSpec:
    """The tokens that a model works on: those of one encoder at one image size.

    Attributes:
        grid: rows and columns of patches; N = grid[0] * grid[1].
        channels: C, feature channels per token.
        fingerprint: the encoder's identity (name, weights' hash, layer, normalisation, image size).
        encoder: by which name or folder the encoder is loaded; where it lies does not make it another one.
        image_size: side of the square frames that are encoded, in pixels.
    """

    grid: tuple[int, int]
    channels: int
    fingerprint: str
    encoder: str = field(compare=False)
    image_size: int = field(compare=False)

    @property
    def count(self) -> int:
        """N, the number of patch tokens of a frame."""
        return self.grid[0] * self.grid[1]

    def require(self, other: TokenSpec, *, model: str, source: str) -> None:
        """Refuse tokens of another encoder.

        Raises:
            ForeactError: `other` has another fingerprint or shape.
        """
        if other != self:
            raise ForeactError(
                f"{model} was trained on tokens of encoder {self.fingerprint} ({self.count} x {self.channels}), but "
                f"{source} has tokens of {other.fingerprint} ({other.count} x {other.channels}): use the same encoder and image size"
            )
