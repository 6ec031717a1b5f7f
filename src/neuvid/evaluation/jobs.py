"""Encodings: each through files, one by one or several at once, and each only once."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, fields
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from neuvid.errors import NeuvidError
from neuvid.evaluation import colour, metrics, pictures, source
from neuvid.evaluation.codec import Codec
from neuvid.evaluation.ffmpeg import ffmpeg_path, ffmpeg_version
from neuvid.evaluation.metrics import average_metrics, measure
from neuvid.evaluation.pictures import write_last_picture
from neuvid.evaluation.results import Point
from neuvid.evaluation.source import RawClip

POINT_FILE = "point.json"
PICTURE_FILE = "last-frame.webp"
SPAWN = get_context("spawn")


@dataclass(frozen=True, slots=True)
class Job:
    """One encoding; with `timing` its seconds are kept. `cache` is the folder of all of them."""

    clip: RawClip
    codec: Codec
    quality: float
    cache: Path
    timing: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: its point, or the reason why there is none.

    `seconds` are those that the job took, None where its point was in the cache.
    """

    job: Job
    result: Point | str
    seconds: float | None


def run_jobs(jobs: list[Job], processes: int, done: Callable[[Outcome], None]) -> list[Outcome]:
    """Run jobs, so many at once, and return their outcomes in the order of the jobs.

    `done` is called with each outcome as it comes.
    """
    outcomes = {}
    new = []
    for number, job in enumerate(jobs):
        if processes > 1 and _cached_point(job, _cache_key(job)) is None:
            new.append(number)
        else:
            outcomes[number] = run_job(job)
            done(outcomes[number])
    with closing(_run_at_once(jobs, new, processes)) as coming:
        for number, outcome in coming:
            outcomes[number] = outcome
            done(outcome)
    return [outcomes[number] for number in range(len(jobs))]


def _run_at_once(
    jobs: list[Job], numbers: list[int], processes: int
) -> Generator[tuple[int, Outcome], None, None]:
    """Run the jobs of these numbers; yield the outcomes as they come."""
    if not numbers:
        return
    left = set(numbers)
    with ProcessPoolExecutor(processes, mp_context=SPAWN) as pool:
        futures = {pool.submit(run_job, jobs[number]): number for number in numbers}
        try:
            for future in as_completed(futures):
                with suppress(BrokenProcessPool):
                    outcome = future.result()
                    left.remove(futures[future])
                    yield futures[future], outcome
        finally:  # interrupted: what has not begun never begins
            pool.shutdown(wait=False, cancel_futures=True)
    for number in sorted(left):  # where one process is killed, all are stopped
        yield number, _run_alone(jobs[number])


def run_job(job: Job) -> Outcome:
    """Take the point of a job from the cache, else encode, decode and measure."""
    begin = time.monotonic()
    try:
        key = _cache_key(job)
        point = _cached_point(job, key)
        if point is not None:
            return Outcome(job, point, None)
        cache = job.cache.resolve()
        with TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as folder:
            point = _measure_job(job, key, Path(folder))
            shutil.rmtree(cache / key, ignore_errors=True)
            Path(folder).rename(cache / key)
        return Outcome(job, point, time.monotonic() - begin)
    except NeuvidError as error:
        return Outcome(job, str(error), time.monotonic() - begin)
    except (MemoryError, OSError, RuntimeError) as error:  # the others may yet succeed
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(job, reason, time.monotonic() - begin)


def _run_alone(job: Job) -> Outcome:
    try:
        with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
            return pool.submit(run_job, job).result()
    except BrokenProcessPool:
        return Outcome(job, "its process was killed, maybe for lack of memory", None)


def _measure_job(job: Job, key: str, folder: Path) -> Point:
    clip, codec = job.clip, job.codec
    stream, decoded = folder / f"stream{codec.suffix}", folder / "decoded.yuv"
    encoding = codec.encode(clip, job.quality, stream)
    decoding = codec.decode(clip, stream, decoded)
    by_frame = measure(clip, decoded)
    write_last_picture(clip, decoded, folder / PICTURE_FILE)
    decoded.unlink()
    size = stream.stat().st_size
    point = Point(
        setting=codec.describe(job.quality),
        bits_per_pixel=8 * size / clip.pixels,
        metrics=average_metrics(by_frame),
        by_frame=by_frame,
        file_bytes=size,
        container_bytes=codec.container_bytes(stream),
        rate_error=_rate_error(job, size),
        encode_seconds=encoding.seconds if job.timing else None,
        decode_seconds=decoding.seconds if job.timing else None,
        encode_peak_bytes=encoding.peak_bytes,
        decode_peak_bytes=decoding.peak_bytes,
        encode_command=_without_folders(encoding.command, folder, clip),
        decode_command=_without_folders(decoding.command, folder, clip),
        key=key,
    )
    (folder / POINT_FILE).write_text(json.dumps(asdict(point)))
    return point


def _rate_error(job: Job, size: int) -> float | None:
    target = job.codec.target_rate(job.quality)
    return None if target is None else 8 * size / float(job.clip.seconds) / target - 1


def _without_folders(command: str, folder: Path, clip: RawClip) -> str:
    return command.replace(f"{folder}/", "").replace(f"{clip.path.parent}/", "")


def _cache_key(job: Job) -> str:
    """Return a name that stands for all that a point depends on."""
    identity = (
        job.clip.digest,
        job.codec.identity(job.quality),
        job.codec.threads,
        ffmpeg_version(ffmpeg_path()),
        _measuring_digest(),
    )
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:24]


@cache
def _measuring_digest() -> str:
    """Return a digest of the code that measures."""
    files = (Path(str(module.__file__)) for module in (colour, metrics, pictures, source))
    names = repr([field.name for field in fields(Point)])
    return hashlib.sha256(
        b"".join(file.read_bytes() for file in files) + names.encode()
    ).hexdigest()


def _cached_point(job: Job, key: str) -> Point | None:
    file = job.cache / key / POINT_FILE
    if not file.is_file():
        return None
    point = Point(**json.loads(file.read_text()))
    return None if job.timing and point.encode_seconds is None else point
