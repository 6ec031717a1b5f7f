"""Writes cli.md, the help of every command; with --check, only says whether it is current."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

os.environ.update(TYPER_USE_RICH="0", COLUMNS="80")  # plain text, as wide everywhere

from neuvid.cli.main import COMMANDS, main

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Command line

    neuvid encode talk.mp4 talk.nvid --qp 40
    neuvid decode talk.nvid talk.mkv
    neuvid decode talk.nvid pictures/ --seek 12.5
    cat talk.y4m | neuvid encode - - | neuvid decode - - | ffplay -

The exit code is 0 when all went well, 1 when `--keep-going` met damage, 2 after one line
`neuvid: error: ...` that names the cause, 130 after Ctrl-C. Output files appear when they are
whole: whatever goes wrong, no part of one is left. A pipe or a device is written to as it is, and
a symbolic link stays one. On long work a line of progress a minute is printed where standard error
is no terminal. `python -m neuvid` is `neuvid`.

`docs/make_cli.py` makes this page from `--help`.
"""


def help_of(command: list[str]) -> str:
    """Return a section with the help of a command."""
    text = io.StringIO()
    with redirect_stdout(text):
        main([*command, "--help"])
    return f"\n## {' '.join(['neuvid', *command])}\n```\n{text.getvalue().strip()}\n```\n"


def page() -> str:
    """Return what cli.md should hold."""
    commands: list[list[str]] = [[], *([name] for name in COMMANDS)]
    commands += [["data", "prepare"], ["data", "pack"]]
    return HEAD + "".join(map(help_of, commands))


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text() != page())
    PAGE.write_text(page())
