"""Checkpoints: config, weights and integer tables in a safetensors file.

Those that come with the package share their still-picture model, which lies beside them; the
metadata of each names it by its digest.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from neuvid.entropy.coder import CoderTables
from neuvid.entropy.distributions import (
    Bernoulli,
    FactorisedPrior,
    Gaussian,
    Laplace,
    scale_thresholds,
)
from neuvid.entropy.tables import EntropyTables, tables_from_cumulative
from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.models.base import ModelConfig, VideoModel
from neuvid.models.presets import FAMILIES, PRESETS, build_model, family_name, preset
from neuvid.nn.half import use_16_bits
from neuvid.nn.integer import make_exact
from neuvid.outputs import replacing

WEIGHTS = Path(__file__).parents[1] / "weights"  # checkpoints that come with the package
SUFFIX = ".safetensors"
STILLS = f"stills{SUFFIX}"  # the still-picture model of the checkpoints beside it that name it
FORMAT = "neuvid-1"
TABLE_PREFIX, INTRA_PREFIX = "tables.", "intra."
DIGEST_BYTES = 16
Z_SYMBOL_MAX = 64  # symbols of z beyond it escape


class Arithmetic(StrEnum):
    """How the networks compute; a stream decodes only with that of its encoder.

    INTEGER gives the same results on every machine. The others give their own on each kind of
    processor and for each number of threads. With FLOAT16 and BFLOAT16 most products are in 16
    bits, motion and what the networks pass on in float32.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INTEGER = "integer"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready for coding. `digest` [16 bytes] identifies the checkpoint's content."""

    name: str
    digest: bytes
    arithmetic: Arithmetic
    network: VideoModel[Any]
    tables: CoderTables
    device: torch.device


def build_tables(model: VideoModel[Any]) -> EntropyTables:
    """Return the integer tables of a trained model: of all laws, then of each prior of z."""
    parts = [Gaussian.tables(), Laplace.tables(), Bernoulli.tables()]
    parts += [_prior_tables(prior) for prior in model.factorised_priors()]
    return EntropyTables.concatenate(parts)


def _prior_tables(prior: FactorisedPrior) -> EntropyTables:
    edges = torch.arange(-Z_SYMBOL_MAX, Z_SYMBOL_MAX + 2, dtype=torch.float64) - 0.5
    parameters = prior.double()
    with torch.no_grad():
        values = edges.expand(prior.qualities, prior.channels, -1)
        cumulative = torch.sigmoid(parameters.logits(values, slice(None))).flatten(0, 1)
    prior.float()
    rising = np.maximum.accumulate(cumulative.cpu().numpy(), axis=1)
    return tables_from_cumulative(rising, first_symbol=-Z_SYMBOL_MAX)


def save_model(
    path: Path,
    name: str,
    model: VideoModel[Any],
    notes: dict[str, str],
    *,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a checkpoint with weights of a type; `notes` says where they come from.

    The file depends on nothing else. Raises UnwritableOutput when it cannot be written.
    """
    weights = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items()}
    rounded = copy.deepcopy(model)
    rounded.load_state_dict({key: value.float() for key, value in weights.items()})
    tables = build_tables(rounded)
    arrays = {
        "cumulative": torch.from_numpy(tables.cumulative),
        "starts": torch.from_numpy(tables.starts),
        "offsets": torch.from_numpy(tables.offsets),
        "thresholds": torch.from_numpy(scale_thresholds()),
    }
    tensors = weights | {TABLE_PREFIX + key: value for key, value in arrays.items()}
    metadata = notes | {
        "format": FORMAT,
        "name": name,
        "family": family_name(model.config),
        "config": json.dumps(asdict(model.config)),
    }
    _write(path, tensors, metadata)


def ship_checkpoint(path: Path, folder: Path) -> None:
    """Write the file of a preset, made of a whole checkpoint, to a folder of shipped weights.

    The still-picture model goes to a file of its own there, or is the one that is there already.
    Raises InvalidSetting when it differs from that or the checkpoint has only one of both parts,
    UnreadableInput and UnwritableOutput.
    """
    metadata, tensors = _read(path)
    stills = {key: tensors.pop(key) for key in list(tensors) if key.startswith(INTRA_PREFIX)}
    if not (stills and tensors):
        raise InvalidSetting("checkpoint", got=str(path), expected="a whole one")
    shared = folder / STILLS
    if not shared.exists():
        _write(shared, stills, {"format": FORMAT})
    _, present = _read(shared)
    same = stills.keys() == present.keys()
    if not same or not all(torch.equal(stills[key], present[key]) for key in stills):
        expected = f"one with the still-picture model in {shared}"
        raise InvalidSetting("checkpoint", got=str(path), expected=expected)
    metadata["stills"] = checkpoint_digest(shared).hex()
    metadata["family"] = family_name(_config(path, metadata))
    _write(folder / f"{metadata['name']}{SUFFIX}", tensors, metadata)


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    content = safetensors.torch.save(tensors, metadata)
    # The library writes metadata in a random order.
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    with replacing(path) as file:
        file.writelines((len(header).to_bytes(8, "little"), header))
        file.write(memoryview(content)[8 + size :])


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the float32 weights of a checkpoint; raise UnreadableInput when it is none.

    They are those of the still-picture model alone where the checkpoint has no others.
    """
    _, tensors = _read(path)
    return {
        key: value.float() for key, value in tensors.items() if not key.startswith(TABLE_PREFIX)
    }


def shipped_weights(name: str) -> Path | None:
    """Return the checkpoint of a preset that comes with the package, None where there is none."""
    path = WEIGHTS / f"{name}{SUFFIX}"
    return path if path.is_file() else None


def checkpoint_digest(path: Path) -> bytes:
    """Return the 16 bytes by which streams name the checkpoint of a file."""
    return hashlib.sha256(path.read_bytes()).digest()[:DIGEST_BYTES]


def load_model(
    name: str | Path, *, device: str = "cpu", arithmetic: Arithmetic | None = None
) -> LoadedModel:
    """Load a preset whose weights come with the package, or a checkpoint file.

    The arithmetic is INTEGER where none is given and the model has it, else FLOAT32. Raises
    InvalidSetting for an unknown preset or device, one without weights, an arithmetic that the
    model lacks, and UnreadableInput for a file that is no checkpoint.
    """
    path = _checkpoint_path(str(name))
    metadata, tensors = _read(path)
    try:
        network = build_model(_config(path, metadata))
        table = {key: tensors.pop(TABLE_PREFIX + key) for key in _TABLE_KEYS}
        network.load_state_dict({key: value.float() for key, value in tensors.items()})
        target = _device(device)
        tables = _coder_tables(table, target)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UnreadableInput(path, f"a damaged checkpoint ({reason})") from error
    network.eval().requires_grad_(False)
    network.to(target)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    arithmetic = _arithmetic(network, arithmetic)
    _convert(network, arithmetic, path)
    return LoadedModel(
        metadata["name"], checkpoint_digest(path), arithmetic, network, tables, target
    )


def _arithmetic(network: VideoModel[Any], wanted: Arithmetic | None) -> Arithmetic:
    if network.integer_arithmetic:
        return wanted or Arithmetic.INTEGER
    if wanted is Arithmetic.INTEGER:
        floats = ", ".join(each.value for each in Arithmetic if each is not wanted)
        expected = f"{floats} for this model"
        raise InvalidSetting("arithmetic", got=wanted.value, expected=expected)
    return wanted or Arithmetic.FLOAT32


def _convert(network: VideoModel[Any], arithmetic: Arithmetic, path: Path) -> None:
    match arithmetic:
        case Arithmetic.INTEGER:
            try:
                make_exact(network)
            except ValueError as error:
                raise UnreadableInput(path, f"a damaged checkpoint ({error})") from error
        case Arithmetic.FLOAT16 | Arithmetic.BFLOAT16:
            use_16_bits(network, getattr(torch, arithmetic.value))


_TABLE_KEYS = ("cumulative", "starts", "offsets", "thresholds")


def _checkpoint_path(name: str) -> Path:
    if name.endswith(SUFFIX):
        return Path(name)
    preset(name)
    path = shipped_weights(name)
    if path is None:
        ready = [known for known in PRESETS if shipped_weights(known)]
        expected = ", ".join(ready) or "none yet"
        raise InvalidSetting(
            "model", got=name, expected=f"a {SUFFIX} file or a preset with weights: {expected}"
        )
    return path


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return metadata and tensors, with those of the still pictures that the metadata names."""
    metadata, tensors = _read_file(path)
    digest = metadata.get("stills")
    if digest is None:
        return metadata, tensors
    stills = path.with_name(STILLS)
    if not stills.is_file():
        raise UnreadableInput(path, f"its still-picture model is missing: {stills}")
    if checkpoint_digest(stills).hex() != digest:
        raise UnreadableInput(path, f"made for another still-picture model than {stills}")
    return metadata, _read_file(stills)[1] | tensors


def _read_file(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if path.is_dir():
        raise UnreadableInput(path, f"no checkpoint but a folder; name a {SUFFIX} file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise UnreadableInput(path, f"no checkpoint ({error})") from error
    if metadata.get("format") != FORMAT:
        raise UnreadableInput(path, "no checkpoint of neuvid")
    return metadata, tensors


def _config(path: Path, metadata: dict[str, str]) -> ModelConfig:
    """Return the config, of the family that the metadata names."""
    values = json.loads(metadata["config"])
    name = metadata.get("family") or _family_with(values)
    if name not in FAMILIES:
        reason = "a checkpoint of an unknown family; one of your own is known once it is registered"
        raise UnreadableInput(path, reason)
    config: ModelConfig = _restore(FAMILIES[name].config, values)
    return config


def _family_with(values: dict[str, Any]) -> str | None:
    """Return the first family whose config has all these fields: old checkpoints name none."""
    for name, family in FAMILIES.items():
        if values.keys() <= {field.name for field in fields(family.config)}:
            return name
    return None


def _restore(kind: Any, values: dict[str, Any]) -> Any:
    """Return a dataclass of which `asdict` and JSON made `values`."""
    types = get_type_hints(kind)

    def value_of(name: str, value: Any) -> Any:
        if is_dataclass(types[name]):
            return _restore(types[name], value)
        return tuple(value) if isinstance(value, list) else value

    return kind(**{name: value_of(name, value) for name, value in values.items()})


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidSetting("device", got=name, expected=f"one that works ({reason})") from error
    return device


def _coder_tables(table: dict[str, Tensor], device: torch.device) -> CoderTables:
    tables = EntropyTables(
        table["cumulative"].numpy(), table["starts"].numpy(), table["offsets"].numpy()
    )
    return CoderTables(tables, table["thresholds"].to(device))
