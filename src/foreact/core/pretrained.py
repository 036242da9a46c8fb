"""What every model of foreact shares: a frozen config that builds it, and a safe folder on disk.

A saved model is a folder with `config.json` (schema, kind, config), `model.safetensors` and a `README.md` card. Keys are
strict in both directions and nothing in a downloaded file is executed: `kind` is looked up in `registry.MODELS`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from foreact.core.building import build_to_fit
from foreact.core.config import ModelConfig
from foreact.core.errors import ForeactError
from foreact.core.files import read_json, whole, write_atomically
from foreact.core.weights import read_tensors, write_tensors

SCHEMA = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
SHIPPED = Path(__file__).parent.parent / "systems"
"""Trained models that come with the library: folders of runs, by the name of what they were trained for."""
GENERIC, SYSTEM_FILE, RECORDINGS = "generic", "system.json", "recordings"
"""Those that were trained on many scenes, to begin with; what a system was trained on and how it does, as data; a few recordings."""

T = TypeVar("T")


class PretrainedModel(nn.Module):
    """An `nn.Module` with a config, counted parameters and `save_pretrained / from_pretrained / push_to_hub`."""

    config: ModelConfig

    def num_parameters(self, *, trainable_only: bool = False) -> int:
        """Number of parameters (not buffers); works on the meta device."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not trainable_only)

    def save_pretrained(self, folder: str | Path, *, card: str = "", half: bool = False) -> None:
        """Write the model to `folder`, file by file and atomically, the config last.

        Args:
            folder: made if missing; files of an earlier model there are replaced.
            card: text of the model card; a short one is written if empty.
            half: store float tensors as float16 (loading casts them back).
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        if half:
            state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        with whole(folder / WEIGHTS_FILE) as temporary:
            write_tensors(temporary, state)
        write_atomically(folder / CARD_FILE, (card or self._default_card()).encode())
        write_atomically(folder / CONFIG_FILE, (json.dumps(self._describe(), indent=2) + "\n").encode())

    @classmethod
    def from_pretrained(cls: type[T], source: str | Path, *, revision: str | None = None) -> T:
        """Load a model from a folder or a Hub id, in evaluation mode, on the CPU.

        Raises:
            ForeactError: missing or unreadable files, another kind or schema, missing or extra tensors.
        """
        model = load_model(source, revision=revision)
        if not isinstance(model, cls):
            raise ForeactError(f"{source} holds a {model.config.kind}, not a {cls.__name__}")
        return model

    def push_to_hub(self, repo_id: str, *, private: bool = True, card: str = "") -> str:
        """Upload the model to the Hugging Face Hub; returns the address of the commit."""
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, card=card)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder).commit_url)

    def _describe(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "kind": self.config.kind, "config": self.config.to_dict()}

    def _default_card(self) -> str:
        kind = self.config.kind
        return f"---\nlibrary_name: foreact\ntags: [foreact, {kind}]\n---\n# {kind}\n\n{self.num_parameters():,} parameters.\n"


def load_model(source: str | Path, *, revision: str | None = None) -> Any:
    """Load whichever model `source` (folder or Hub id) holds. See `PretrainedModel.from_pretrained`."""
    folder = _local_folder(source, revision)
    config, weights = read_config(folder), folder / WEIGHTS_FILE
    model = build_to_fit(config, folder / CONFIG_FILE, weights)
    tensors = read_tensors(weights)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ForeactError(f"{weights}: {name} has values that are not finite; train or copy the model again")
    wanted = model.state_dict()
    model.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()})
    return model.eval()


def read_config(folder: Path) -> ModelConfig:
    """The config of the model that is saved in `folder`.

    Raises:
        ForeactError: missing, unreadable or ill-formed.
    """
    from foreact.core.registry import config_class

    described = _read_config(folder)
    kind: type[ModelConfig] = config_class(described["kind"], where=str(folder))
    return kind.from_dict(described["config"], where=str(folder / CONFIG_FILE))


def read_kind(folder: str | Path) -> str | None:
    """The kind of model saved in `folder`, or None where there is none."""
    try:
        return str(_read_config(Path(folder))["kind"])
    except ForeactError:
        return None


def find_beside(folder: Path, kind: str) -> list[Path]:
    """Folders beside `folder` that hold a model of `kind`."""
    parent = folder.resolve().parent
    return [p for p in sorted(parent.iterdir()) if p.is_dir() and read_kind(p) == kind] if parent.is_dir() else []


def find_local(source: str | Path) -> Path | None:
    """The folder of that path, else what ships under that name: `pusht`, or one of its models, `pusht/rla-wm`; else None."""
    folder, name = Path(source), str(source)
    if folder.is_dir():
        return folder
    plain = all(part.replace("-", "_").isidentifier() for part in name.split("/"))
    return SHIPPED / name if plain and (SHIPPED / name).is_dir() else None


def _local_folder(source: str | Path, revision: str | None) -> Path:
    folder, name = find_local(source), str(source)
    if folder is not None:
        return folder
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ForeactError(f"{source}: no such folder (and not a Hub id of the form owner/name)")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, CARD_FILE]))
    except Exception as error:
        raise ForeactError(f"{source}: no such folder, and the Hub did not give it ({type(error).__name__})") from error


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        described = read_json(path)
    except FileNotFoundError as error:
        raise ForeactError(f"{folder} holds no model: {CONFIG_FILE} is missing") from error
    except (OSError, ValueError) as error:
        raise ForeactError(f"{path} cannot be read: {error}") from error
    if not isinstance(described, dict) or set(described) != {"schema", "kind", "config"}:
        raise ForeactError(f"{path} is not a foreact model config (it needs schema, kind and config)")
    if described["schema"] != SCHEMA:
        raise ForeactError(f"{path} has schema {described['schema']}, this foreact reads schema {SCHEMA}")
    return described


def meta_build(config: ModelConfig) -> PretrainedModel:
    """Build the model on the meta device: shapes, parameters and FLOPs without allocating weights."""
    with torch.device("meta"):
        return config.build()


def state_hash(module: nn.Module, *, skip: tuple[str, ...] = ()) -> str:
    """First 8 hexadecimal digits of the SHA-256 of a module's weights, rounded to float16 as they are shipped.

    Tensors whose names begin with one of `skip` do not count.
    """
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        if skip and key.startswith(skip):
            continue
        value = tensor.detach().cpu().contiguous()
        value = value.half() if value.is_floating_point() else value
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:8]
