"""The ffmpeg program that comes with imageio-ffmpeg: other codecs, and metrics."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

import imageio_ffmpeg  # type: ignore[import-untyped]

from neuvid.errors import InvalidSetting, UnwritableOutput
from neuvid.evaluation.memory import peak_bytes
from neuvid.video.clip import RawFormat

QUIET = {"SVT_LOG": "1"}  # errors alone
ADDRESS = re.compile(r" @ 0x[0-9a-f]+\]")  # in messages
POLL_SECONDS = 0.01  # how often the memory of a program is looked at


@dataclass(frozen=True, slots=True)
class Cost:
    """What running a command took. `peak_bytes` is None where the system does not tell."""

    command: str
    seconds: float
    peak_bytes: int | None


def ffmpeg_path() -> str:
    """Return the path of the program; the variable IMAGEIO_FFMPEG_EXE may name another one."""
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise InvalidSetting("ffmpeg", got=str(error), expected="a program that runs") from error


@cache
def ffmpeg_version(program: str) -> str:
    """Return the first line that the program says of itself."""
    return _ask(program, "-version").splitlines()[0]


@cache
def ffmpeg_has(program: str, kind: str, name: str) -> bool:
    """Tell whether the program has an "encoder" or "filter" of that name."""
    lines = _ask(program, f"-{kind}s").splitlines()
    return any(name in line.split()[1:2] for line in lines)


def raw_input(path: object, raw: RawFormat) -> list[str]:
    """Return the arguments that read a file of bare planes."""
    size, rate = str(raw.size), str(raw.frame_rate)
    bare = ["-f", "rawvideo", "-pix_fmt", raw.pixel_format.value]
    return [*bare, "-video_size", size, "-framerate", rate, "-i", str(path)]


def run_ffmpeg(arguments: list[str], folder: Path | None = None) -> Cost:
    """Run the program in a folder; the last argument is its output.

    Raises UnwritableOutput with the first line that the program wrote where it fails.
    """
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-y", "-loglevel", "error", *arguments]
    peak: int | None = None
    with TemporaryFile() as log:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | QUIET, stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            while process.poll() is None:
                peak = peak_bytes(process.pid) or peak
                time.sleep(POLL_SECONDS)
        finally:
            process.kill()
            process.wait()
        seconds = time.perf_counter() - begin
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()
    if process.returncode:
        reason = next((line for line in lines if line.strip()), "no reason given")
        raise UnwritableOutput(Path(arguments[-1]).name, ADDRESS.sub("]", f"ffmpeg: {reason}"))
    return Cost(shlex.join(["ffmpeg", *arguments]), seconds, peak)


def _ask(program: str, question: str) -> str:
    command = [program, "-hide_banner", question]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise InvalidSetting(
            "ffmpeg", got=program, expected=f"a program that runs ({error})"
        ) from error
