"""What can be evaluated: a codec, or published points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.evaluation.anchors import FAMILIES, FfmpegCodec, Structure
from neuvid.evaluation.ffmpeg import Cost
from neuvid.evaluation.own import NeuvidCodec
from neuvid.evaluation.results import Curve, curve_from, read_json
from neuvid.evaluation.source import RawClip
from neuvid.models.presets import PRESETS

PUBLISHED = "file:"
PUBLISHED_FORMAT = "neuvid-points-1"
CHECKPOINT = ".safetensors"


class Codec(Protocol):
    """Codes clips through files; a quality is a quantiser for some codecs."""

    @property
    def name(self) -> str:
        """How the codec is asked for."""

    @property
    def version(self) -> str:
        """The program and the weights that encode."""

    @property
    def structure(self) -> Structure:
        """How frames refer to each other."""

    @property
    def threads(self) -> int:
        """Threads of the encoder and of the decoder."""

    @property
    def suffix(self) -> str:
        """Of the names of streams."""

    def settings(self, points: int) -> list[float]:
        """Return qualities, from the fewest bits to the most."""

    def describe(self, quality: float) -> str:
        """Return a quality in words."""

    def identity(self, quality: float) -> str:
        """Return text that differs where streams may differ."""

    def encode(self, clip: RawClip, quality: float, stream: Path) -> Cost:
        """Encode a clip into a file."""

    def decode(self, clip: RawClip, stream: Path, decoded: Path) -> Cost:
        """Decode the file into bare planes."""

    def container_bytes(self, stream: Path) -> int:
        """Return the bytes of the file that are no coded frame."""


@dataclass(frozen=True, slots=True)
class Published:
    """Curves that others published, or an earlier evaluation; `curves` by the clip's name."""

    name: str
    curves: dict[str, Curve]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecOptions:
    """What holds for all codecs; `qualities` and `device` are for those of neuvid."""

    structure: Structure
    threads: int = 1
    qualities: tuple[float, ...] = ()
    device: str = "cpu"


def find_codec(text: str, options: CodecOptions) -> Codec | Published:
    """Return the codec that `text` asks for.

    It is a preset of neuvid, a checkpoint file, FAMILY:PRESET for an encoder of ffmpeg, or
    file:POINTS.json. Raises InvalidSetting and UnreadableInput.
    """
    if text.startswith(PUBLISHED):
        return _read_published(Path(text.removeprefix(PUBLISHED)))
    if text in PRESETS or text.endswith(CHECKPOINT):
        structure = replace(options.structure, random_access=False)  # the models know no other
        return NeuvidCodec(text, structure, options.threads, options.device, options.qualities)
    family, colon, preset = text.partition(":")
    if not colon or family not in FAMILIES:
        families = ", ".join(f"{name}:PRESET" for name in FAMILIES)
        expected = f"{', '.join(PRESETS)}, a {CHECKPOINT} file, {families}, {PUBLISHED}POINTS.json"
        raise InvalidSetting("codec", got=text, expected=expected)
    return FfmpegCodec(family, preset, options.structure, options.threads)


def _read_published(path: Path) -> Published:
    content = read_json(path, PUBLISHED_FORMAT)
    try:
        name = content["name"]
        common = {"codec": name, "version": content["source"], "threads": None}
        curves = [curve_from(common | entry) for entry in content["curves"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableInput(path, f"a field is missing or unknown ({error})") from error
    return Published(name, {curve.clip: curve for curve in curves})
