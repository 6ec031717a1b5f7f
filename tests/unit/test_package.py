"""The public names of the package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import neuvid

STUB = Path(neuvid.__file__).with_suffix(".pyi")


def test_all_names_are_there_and_the_stub_agrees() -> None:
    assert all(getattr(neuvid, name) is not None for name in neuvid.__all__)
    assert sorted(re.findall(r" as (\w+)$", STUB.read_text(), re.MULTILINE)) == neuvid.__all__


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
