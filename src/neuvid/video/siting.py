"""Where the chroma samples of a video lie."""

from __future__ import annotations

import io
import re

import av
from av.video.stream import VideoStream

_ELEMENTS = re.compile(rb"\x55\xb7\x81([\x01\x02])\x55\xb8\x81([\x01\x02])")  # of Matroska
_LOCATIONS = {  # by ChromaSitingHorz and ChromaSitingVert
    (1, 2): 1,  # left
    (2, 2): 2,  # centre
    (1, 1): 3,  # top left
    (2, 1): 4,  # top
}


def chroma_location(stream: VideoStream) -> int:
    """Return the chroma location of ColourTags, 0 where the stream does not tell.

    PyAV has no name for it; the header of a Matroska file with the same stream says it.
    """
    file = io.BytesIO()
    try:
        options = {"allow_raw_vfw": "1"}
        with av.open(file, "w", format="matroska", container_options=options) as output:
            output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
    except (ValueError, av.FFmpegError):
        return 0
    found = _ELEMENTS.search(file.getvalue())
    return _LOCATIONS[found[1][0], found[2][0]] if found else 0
