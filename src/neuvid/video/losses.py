"""What of a clip's pictures is not kept, in words."""

from __future__ import annotations

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from neuvid.video.frame import PixelFormat
from neuvid.video.planes import conversion_note, side_data, uses_alpha

FIELD_ORDERS = {2: "top", 5: "top", 3: "bottom", 4: "bottom"}  # FFmpeg's: which is shown first
HDR = {
    Type.MASTERING_DISPLAY_METADATA: "mastering display",
    Type.CONTENT_LIGHT_LEVEL: "light level",
    Type.DYNAMIC_HDR_PLUS: "HDR10+",
    Type.DOVI_METADATA: "Dolby Vision",
}


class Losses:
    """Gathers `notes`, each once, from pictures that become `pixel_format`.

    `field_order` is FFmpeg's number of the stream.
    """

    def __init__(self, pixel_format: PixelFormat, field_order: int) -> None:
        self.notes: list[str] = []
        self._pixel_format = pixel_format
        self._field_order = field_order
        self._checks = [
            self._conversion,
            self._transparency,
            self._interlacing,
            self._hdr,
            self._captions,
        ]

    def see(self, picture: VideoFrame) -> None:
        """Look at the next picture."""
        for check in tuple(self._checks):
            if note := check(picture):
                self.notes.append(note)
                self._checks.remove(check)

    def _conversion(self, picture: VideoFrame) -> str | None:
        return conversion_note(picture, self._pixel_format)

    def _transparency(self, picture: VideoFrame) -> str | None:
        return "transparency is dropped" if uses_alpha(picture) else None

    def _interlacing(self, picture: VideoFrame) -> str | None:
        if not picture.interlaced_frame:
            return None
        first = FIELD_ORDERS.get(self._field_order)
        order = f", {first} field first" if first else ""
        return f"interlaced{order}: the fields stay in the frames, the mark is dropped"

    def _hdr(self, picture: VideoFrame) -> str | None:
        kinds = [words for kind, words in HDR.items() if kind in side_data(picture)]
        return f"{', '.join(kinds)} of HDR dropped" if kinds else None

    def _captions(self, picture: VideoFrame) -> str | None:
        """Tell of CEA-608 and CEA-708."""
        closed = Type.A53_CC in side_data(picture)
        return "closed captions in the pictures are left out" if closed else None
