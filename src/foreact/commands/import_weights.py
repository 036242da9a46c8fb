"""`foreact import-weights`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.core.arguments import Count, OutFolder
from foreact.core.errors import ForeactError

if TYPE_CHECKING:
    from foreact.core.token_spec import TokenSpec

_CARD = """---
library_name: foreact
tags: [foreact, {kind}]
---
# {kind}

{count:,} parameters, imported from {files}: weights that RLA-WM's authors released (arXiv 2605.07079), whose licence holds.
"""


@dataclass(frozen=True, kw_only=True)
class ImportWeights:
    """Turn the weights that RLA-WM's authors released into models of foreact.

    Each source is a folder with their checkpoints, such as encoder_step0100000.pt, of which the last step is taken. Safetensors
    are read as well; files that hold more than tensors are refused. foreact.load(OUT) then imagines, and the verbs take the
    models as any others.

    Attributes:
        out: folder of the models, one folder each.
        rla: their autoencoder: a folder with encoder and decoder.
        rla_wm: their world model, which was trained over --rla: a folder with flow_model, or that file.
        image_decoder: what draws their tokens: a folder with decoder, or that file.
        encoder: name, Hub id or folder of the frozen encoder that all were trained on.
        image_size: side of the square frames that it sees, in pixels.
        shapes_only: do not load the encoder, whose weights may have to be asked for: the models can be counted and looked at,
            but refuse its tokens.
        heads: attention heads of all transformers, which no weight tells.
        horizon: longest chunk of actions, which no weight tells.
    """

    out: OutFolder
    rla: Path | None = None
    rla_wm: Path | None = None
    image_decoder: Path | None = None
    encoder: str = "facebook/dinov3-vitl16-pretrain-lvd1689m"
    image_size: Count = 512
    shapes_only: bool = False
    heads: Count = 16
    horizon: Count = 15

    def run(self) -> None:
        """Import: all that was named, or nothing."""
        from foreact.core.lock import locked

        with locked(self.out):
            self._import()

    def _import(self) -> None:
        from foreact.core.pretrained import read_kind

        made = [(self.out / model.config.kind.replace("_", "-"), model, files) for model, files in self._models()]
        for folder, _, _ in made:
            if read_kind(folder) is not None:
                raise ForeactError(f"{folder} holds a model already: name another --out")
        for folder, model, files in made:
            about = {"kind": model.config.kind, "count": model.num_parameters()}
            model.save_pretrained(folder, card=_CARD.format(**about, files=", ".join(file.name for file in files)))
            print(f"{folder}: {about['count']:,} parameters from {', '.join(map(str, files))}")

    def _models(self) -> list[tuple[Any, list[Path]]]:
        """Each model and the files that it was made of."""
        from foreact.world_models.released_weights import make_image_decoder, make_rla, make_world_model

        if self.rla is None and (self.rla_wm is not None or self.image_decoder is None):
            raise ForeactError("name --rla, and --rla-wm or not, or --image-decoder, or all three")
        autoencoder = [] if self.rla is None else _checkpoints(self.rla, "encoder", "decoder")
        flow = [] if self.rla_wm is None else _checkpoints(self.rla_wm, "flow_model")
        drawing = [] if self.image_decoder is None else _checkpoints(self.image_decoder, "decoder")
        tokens, made = self._tokens(), []
        if autoencoder:
            made.append((_convert(autoencoder, partial(make_rla, tokens=tokens, heads=self.heads)), autoencoder))
        if flow:
            make = partial(make_world_model, rla=made[0][0], heads=self.heads, horizon=self.horizon)
            made.append((_convert(flow, make), flow))
        if drawing:
            made.append((_convert(drawing, partial(make_image_decoder, tokens=tokens)), drawing))
        return made

    def _tokens(self) -> TokenSpec:
        from foreact.encoders.loading import load_encoder

        if self.shapes_only:
            from foreact.encoders.meta import meta_encoder

            return meta_encoder(self.encoder, image_size=self.image_size)[1]
        try:
            return load_encoder(self.encoder, image_size=self.image_size).spec
        except ForeactError as error:
            raise ForeactError(f"{error}; --shapes-only imports without it") from error


def _checkpoints(source: Path, *parts: str) -> list[Path]:
    """The files of the parts, of the last step that all of them have."""
    if source.is_file() and len(parts) == 1:
        return [source]
    folder = source / "ckpts" if (source / "ckpts").is_dir() else source
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [[(re.fullmatch(rf"{part}_step(\d+)\.(?:pt|safetensors)", f.name), f) for f in files] for part in parts]
    by_step = [{int(match[1]): file for match, file in found if match} for found in named]
    steps = set.intersection(*map(set, by_step))
    if not steps:
        wanted = " and ".join(f"{part}_step0100000.pt" for part in parts)
        raise ForeactError(f"{source} is no folder with checkpoints such as {wanted}, of one step")
    return [found[max(steps)] for found in by_step]


def _convert(files: list[Path], make: Callable[..., Any]) -> Any:
    from foreact.core.weights import read_checkpoint

    tensors = [read_checkpoint(file) for file in files]
    try:
        return make(*tensors)
    except ForeactError as error:
        raise ForeactError(f"{', '.join(map(str, files))}: {error}") from error
