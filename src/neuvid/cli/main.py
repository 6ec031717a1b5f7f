"""`neuvid`: each command is in a file of its own, which is imported when the command is run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from neuvid.errors import NeuvidError

COMMANDS = {  # module and name of each command, and the first line of its help
    "encode": ("encode:encode", "Encode a clip to a stream (.nvid)."),
    "decode": ("decode:decode", "Decode a stream to a clip."),
    "info": ("info:info", "Tell what a stream holds."),
    "verify": ("verify:verify", "Check all of a stream, and decode it with nothing written."),
    "models": ("models:models", "List the models that neuvid knows by name."),
    "import": ("importing:import_checkpoint", "Turn published checkpoints into one of neuvid."),
    "eval": ("evaluate:evaluate_command", "Compare codecs through real files."),
    "summary": ("summary:summarise", "Print an evaluation's table in Markdown."),
    "eval-rate": ("evaluate_rates:evaluate_rates_command", "Measure how bit rates are held."),
    "compare": ("compare:compare", "Tell what changed between two evaluations."),
    "train": ("train:train", "Train a model by a recipe."),
    "data": ("data:app", "Make training sets."),
}
FAILURE = 2  # exit codes
INTERRUPTED = 130
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # their exit code is 128 more


class _LazyCommands(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and _load(name), rest


app = typer.Typer(cls=_LazyCommands, add_completion=False, help="A practical neural video codec.")


def _stand_in() -> None:
    """Stands for a command in the list of commands."""


for _name, (_, _summary) in COMMANDS.items():
    app.command(_name, help=_summary)(_stand_in)


def _load(name: str) -> Any:
    """Return the command `name` as what Typer runs."""
    module, attribute = COMMANDS[name][0].split(":")
    command = getattr(import_module(f"neuvid.cli.{module}"), attribute)
    if not isinstance(command, typer.Typer):
        function, command = command, typer.Typer(add_completion=False)
        command.command(name)(function)
    return get_command(command)


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code.

    What goes wrong for a reason outside neuvid is told in one line, with exit code 2.
    """
    try:
        code = app(args=arguments or ["--help"], prog_name="neuvid", standalone_mode=False)
        sys.stdout.flush()
        return code or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.TyperException as error:
        return _fail(error.format_message())
    except NeuvidError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or 'standard output'}: {error.strerror}")
    except ImportError as error:
        return _fail(f"{error.name} is missing: pip install 'neuvid[train,eval]'")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        return _fail("not enough memory for frames of this size")


def run() -> None:
    """Run `neuvid` as a program."""
    _stand_in_for_closed_streams()
    heeded = [each for each in ENDING_SIGNALS if signal.getsignal(each) != signal.SIG_IGN]  # nohup
    for each in heeded:
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    code = main(sys.argv[1:])
    for each in heeded:
        signal.signal(each, signal.SIG_DFL)  # nothing is left to clean up
    try:
        sys.stdout.flush()
    except OSError:  # told already; Python must not try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _stand_in_for_closed_streams() -> None:
    """Keep files from the numbers of standard streams that are closed; using those fails."""
    useless = {"stdin": os.O_WRONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}
    for name, flags in useless.items():
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))


def _fail(reason: str) -> int:
    if reason:  # help that was shown instead of running a command has none
        print("neuvid: error:", " ".join(reason.split()), file=sys.stderr)
    return FAILURE
