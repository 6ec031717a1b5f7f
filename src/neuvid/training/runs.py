"""The folder of a training run: its checkpoint, the weights it exports, its logs."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

import torch

from neuvid.errors import UnreadableInput, UnwritableOutput
from neuvid.outputs import replacing, writing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CHECKPOINT_FILE, BEST_FILE, LAST_FILE = "checkpoint.pt", "best.safetensors", "last.safetensors"
LOG_FILE, TENSORBOARD_FOLDER = "log.jsonl", "tensorboard"
CHECKPOINT_VERSION = 2  # of what is in it
SPACE_NEEDED = 8  # times the bytes of the weights: checkpoint, exports, and one beside


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run; raises UnwritableOutput when they cannot be written."""

    path: Path

    @classmethod
    def create(cls, path: Path, weight_bytes: int) -> Self:
        """Return the folder, made where it is missing and checked for space and permission."""
        run = cls(path)
        with writing(str(path)):
            path.mkdir(parents=True, exist_ok=True)
            status = os.statvfs(path)
        if not os.access(path, os.W_OK):
            raise UnwritableOutput(path, "no permission")
        free, needed = status.f_bavail * status.f_frsize, SPACE_NEEDED * weight_bytes
        if free < needed:
            raise UnwritableOutput(path, f"{free >> 20} MiB are free, {needed >> 20} MiB needed")
        return run

    def save_checkpoint(self, content: Mapping[str, Any]) -> None:
        """Replace the checkpoint."""
        whole = {"version": CHECKPOINT_VERSION, **content}
        with replacing(self.path / CHECKPOINT_FILE) as file:
            try:
                torch.save(whole, file)
            except RuntimeError as error:
                # In whose context torch.save leaves why a file cannot be written.
                raise error.__context__ or error from error

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the checkpoint, None where there is none.

        Raises UnreadableInput when it is damaged or of another version.
        """
        path = self.path / CHECKPOINT_FILE
        if not path.exists():
            return None
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise UnreadableInput(path, f"not a checkpoint ({error})") from error
        if content.get("version") != CHECKPOINT_VERSION:
            raise UnreadableInput(path, "a checkpoint of another version of neuvid")
        return content

    def logs(self, first_step: int) -> RunLogs:
        """Open the logs, to go on from a step."""
        return RunLogs(self.path, first_step)


class RunLogs:
    """Appends numbers to `log.jsonl`, and for TensorBoard where that is installed.

    What an earlier run logged past the first step is cut.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        file = path / LOG_FILE
        with writing(str(path)):
            kept = _lines_before(file, first_step)
            with replacing(file) as replaced:
                replaced.write("".join(kept).encode())
            self.lines: TextIO = file.open("a")
            self.tensorboard = _tensorboard(path / TENSORBOARD_FOLDER, first_step)

    def write(self, step: int, group: str, numbers: Mapping[str, float]) -> None:
        """Log numbers by name at a step; `group` is "train" or "validation"."""
        entry = {"step": step, "group": group, **numbers}
        with writing(LOG_FILE):
            self.lines.write(json.dumps(entry) + "\n")
            self.lines.flush()
        if self.tensorboard is not None:
            for name, number in numbers.items():
                self.tensorboard.add_scalar(f"{group}/{name}", number, step)

    def close(self) -> None:
        """Close the files."""
        self.lines.close()
        if self.tensorboard is not None:
            self.tensorboard.close()


def _tensorboard(folder: Path, first_step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=first_step)


def _lines_before(file: Path, step: int) -> list[str]:
    if not file.exists():
        return []
    lines = file.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("}\n")]
    return [line for line in whole if json.loads(line)["step"] <= step]
