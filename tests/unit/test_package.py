"""The public names of the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import torch
from clips import moving_clip

import neuvid

STUB = Path(neuvid.__file__).with_suffix(".pyi")


def test_all_names_are_there_and_the_stub_agrees() -> None:
    assert all(getattr(neuvid, name) is not None for name in neuvid.__all__)
    assert sorted(re.findall(r" as (\w+)$", STUB.read_text(), re.MULTILINE)) == neuvid.__all__


def test_the_reference_holds_all_names() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    assert sorted(re.findall(r"^::: neuvid\.(\w+)$", page, re.MULTILINE)) == neuvid.__all__


def test_errors_form_one_tree() -> None:
    errors = [getattr(neuvid, name) for name in neuvid.__all__]
    errors = [value for value in errors if isinstance(value, type) and issubclass(value, Exception)]
    assert len(errors) == 9
    assert all(issubclass(error, neuvid.NeuvidError) for error in errors)


def test_importing_is_quick() -> None:
    """Neither the package nor the list of commands waits for PyTorch."""
    code = (
        "import sys, neuvid; from neuvid.cli.main import main; main(['--help']); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_wheel_alone_encodes_and_decodes(tmp_path: Path) -> None:
    """Installed elsewhere it needs nothing of the work tree, and decodes to the same pixels."""
    installed = tmp_path / "installed"

    def python(*arguments: str | Path, **environment: str) -> bytes:
        return subprocess.run(
            [sys.executable, *arguments],
            check=True,
            capture_output=True,
            cwd=tmp_path,
            env=os.environ | environment,
        ).stdout

    def alone(*arguments: str | Path) -> bytes:
        places = (str(installed), str(Path(torch.__file__).parents[1]))
        # -S leaves out the link to the work tree.
        return python("-S", *arguments, PYTHONPATH=os.pathsep.join(places))

    repository, folder = Path(__file__).parents[2], f"build-dir={tmp_path / 'build'}"
    python("-m", "pip", "wheel", repository, "--no-deps", "-w", tmp_path, "-C", folder)
    (wheel,) = tmp_path.glob("neuvid-*.whl")
    zipfile.ZipFile(wheel).extractall(installed)
    assert str(installed).encode() in alone("-c", "import neuvid; print(neuvid.__file__)")
    clip = moving_clip(tmp_path / "clip.mp4", frames=3)
    alone("-m", "neuvid", "encode", clip, "clip.nvid")
    decode = ("-m", "neuvid", "decode", "clip.nvid", "-")
    assert python(*decode) == alone(*decode) != b""
