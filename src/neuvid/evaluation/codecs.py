"""Finds what can be evaluated by its name: a codec, or published points."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neuvid.codec.schedule import read_refresh_period
from neuvid.errors import InvalidSetting, NeuvidError
from neuvid.evaluation.anchors import FAMILIES, FfmpegCodec, Structure
from neuvid.evaluation.codec import Codec
from neuvid.evaluation.own import NeuvidCodec
from neuvid.evaluation.published import Published, read_published
from neuvid.evaluation.results import Failure
from neuvid.models.presets import PRESETS

PUBLISHED = "file:"
CHECKPOINT = ".safetensors"

SETTING = re.compile(r":(?=[a-z]+=)")  # before each setting behind a codec's name


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecOptions:
    """What holds for all codecs; `qualities` and `device` are for those of neuvid."""

    structure: Structure
    threads: int = 1
    qualities: tuple[float, ...] = ()
    device: str = "cpu"


def find_codecs(
    names: Iterable[str], options: CodecOptions
) -> tuple[list[Codec | Published], list[Failure]]:
    """Return the codecs asked for, and those that cannot be, with the reason.

    Raises what `find_codec` raises where there is none but those.
    """
    codecs: list[Codec | Published] = []
    failures, error = [], None
    for name in names:
        try:
            codecs.append(find_codec(name, options))
        except NeuvidError as reason:
            error = reason
            failures.append(Failure("", name, str(reason)))
    if error and not codecs:
        raise error
    return codecs, failures


def find_codec(text: str, options: CodecOptions) -> Codec | Published:
    """Return the codec that `text` asks for.

    It is a preset of neuvid, a checkpoint file, FAMILY:PRESET for an encoder of ffmpeg, or
    file:POINTS.json, each with its own settings behind it: rt-small:intra=32:refresh=8.
    Raises InvalidSetting and UnreadableInput.
    """
    name, *parts = SETTING.split(text)
    is_own = name in PRESETS or name.endswith(CHECKPOINT)
    settings = _read_settings(name, parts, OWN_SETTINGS if is_own else COMMON_SETTINGS)
    intra_period = settings.get("intra", options.structure.intra_period)
    structure = replace(options.structure, intra_period=intra_period)
    suffix = text.removeprefix(name)
    if name.startswith(PUBLISHED):
        return read_published(Path(name.removeprefix(PUBLISHED)), structure, suffix)
    if is_own:
        return NeuvidCodec(
            model=name,
            structure=replace(structure, random_access=False),  # the models know no other
            threads=options.threads,
            device=options.device,
            chosen=options.qualities,
            bitrates=settings.get("bitrate", ()),
            refresh_period=settings.get("refresh"),
            route=settings.get("route"),
            settings=suffix,
        )
    family, colon, preset = name.partition(":")
    if not colon or family not in FAMILIES:
        families = ", ".join(f"{family}:PRESET" for family in FAMILIES)
        expected = f"{', '.join(PRESETS)}, a {CHECKPOINT} file, {families}, {PUBLISHED}POINTS.json"
        raise InvalidSetting("codec", got=name, expected=expected)
    return FfmpegCodec(family, preset, structure, options.threads, suffix)


def read_numbers(text: str) -> tuple[float, ...]:
    """Read numbers with commas between them; raise ValueError."""
    return tuple(float(part) for part in text.split(","))


COMMON_SETTINGS: dict[str, Callable[[str], Any]] = {"intra": int}
OWN_SETTINGS = COMMON_SETTINGS | {
    "refresh": read_refresh_period,
    "route": int,
    "bitrate": read_numbers,
}


def _read_settings(
    name: str, parts: list[str], known: dict[str, Callable[[str], Any]]
) -> dict[str, Any]:
    settings = {}
    for key, _, value in (part.partition("=") for part in parts):
        if key not in known:
            raise InvalidSetting(f"setting of {name}", got=key, expected=", ".join(known))
        try:
            settings[key] = known[key](value)
        except ValueError as error:
            raise InvalidSetting(f"{key} of {name}", got=value, expected="a number") from error
    return settings
