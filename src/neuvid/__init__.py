"""A practical neural video codec.

    neuvid.write("x.nvid", arrays, fps=25)  # uint8 [H, W, 3], RGB
    for frame in neuvid.read("x.nvid", start=2.0):
        frame.rgb()

    with neuvid.open_clip("in.mp4", passthrough=True) as clip:
        model, quality = neuvid.load_model("fm-small"), neuvid.FixedQuality(32)
        neuvid.encode_clip(clip, "out.nvid", model=model, control=quality)
    neuvid.decode_stream("out.nvid", "out.mp4")

`Encoder` and `Decoder` take and give single frames and packets. What needs PyTorch is imported
when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = {  # of each module
    "neuvid.bitstream.container": "PacketReader PacketWriter",
    "neuvid.bitstream.packet": "Packet PassthroughChunk StreamHeader",
    "neuvid.choice": "FrameChoice FrameKind",
    "neuvid.codec.arrays": "Video VideoFrame read write",
    "neuvid.codec.clips": "encode_clip",
    "neuvid.codec.decoder": "Decoder",
    "neuvid.codec.encoder": "Encoder",
    "neuvid.codec.files": "open_stream",
    "neuvid.codec.goals": "BitrateController RateGoal",
    "neuvid.codec.headers": "header_of",
    "neuvid.codec.passes": "PassesReport TotalGoal encode_in_passes",
    "neuvid.codec.schedule": "Schedule",
    "neuvid.codec.statistics": "StreamStatistics",
    "neuvid.codec.streams": "DecodeReport VerifyReport decode_stream verify_stream",
    "neuvid.errors": "CorruptStream Desynchronised InvalidSetting ModelMismatch "
    "NeuvidError Truncated UnknownVersion UnreadableInput UnwritableOutput",
    "neuvid.models.checkpoint": "Arithmetic LoadedModel load_model",
    "neuvid.models.presets": "register_family",
    "neuvid.rate.budget": "Bitrate LeakyBucket RateMeter RateReport",
    "neuvid.rate.controller": "FixedQuality FramePlan FrameStats FrameView RateController Trial",
    "neuvid.rate.distortion": "PsnrControl",
    "neuvid.rate.feedback": "BitrateControl",
    "neuvid.rate.guard": "BufferGuard",
    "neuvid.video.clip": "RawFormat create_clip open_clip",
    "neuvid.video.frame": "ClipInfo ColourTags Frame FrameSize PixelFormat",
    "neuvid.video.orientation": "Orientation",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'neuvid' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
