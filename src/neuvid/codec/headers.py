"""What a clip says of itself, to a stream's header and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuvid.bitstream.packet import StreamHeader
from neuvid.errors import CorruptStream, InvalidSetting
from neuvid.video.frame import ClipInfo, ColourTags, FrameSize, PixelFormat
from neuvid.video.orientation import Orientation

if TYPE_CHECKING:  # models need torch, and who reads a header does not
    from neuvid.models.checkpoint import LoadedModel


def header_of(model: LoadedModel, clip: ClipInfo) -> StreamHeader:
    """Return the header of a stream that codes `clip` with `model`."""
    return StreamHeader(
        model=model.name,
        checkpoint=model.digest,
        arithmetic=model.arithmetic.value,
        levels=model.network.levels,
        routes=model.network.routes,
        width=clip.size.width,
        height=clip.size.height,
        pixel_format=clip.pixel_format.value,
        frame_rate=clip.frame_rate,
        time_base=clip.time_base,
        first_pts=clip.start,
        sample_aspect_ratio=clip.sample_aspect,
        colour_matrix=clip.colour.matrix,
        colour_range=clip.colour.range,
        colour_primaries=clip.colour.primaries,
        colour_transfer=clip.colour.transfer,
        total_frames=clip.frame_count or 0,
        chroma_location=clip.colour.chroma_location,
        display_matrix=b"" if clip.orientation == Orientation() else clip.orientation.to_bytes(),
    )


def clip_of(header: StreamHeader) -> ClipInfo:
    """Return what a stream's header says of its clip."""
    return ClipInfo(
        size=FrameSize(header.width, header.height),
        pixel_format=PixelFormat(header.pixel_format),
        frame_rate=header.frame_rate,
        time_base=header.time_base,
        start=header.first_pts,
        colour=ColourTags(
            header.colour_matrix,
            header.colour_range,
            header.colour_primaries,
            header.colour_transfer,
            header.chroma_location,
        ),
        sample_aspect=header.sample_aspect_ratio,
        orientation=_orientation_of(header),
        frame_count=header.total_frames or None,
    )


def _orientation_of(header: StreamHeader) -> Orientation:
    if not header.display_matrix:
        return Orientation.turned(header.rotation)
    try:
        return Orientation.from_bytes(header.display_matrix)
    except InvalidSetting as error:
        raise CorruptStream(str(error)) from None
