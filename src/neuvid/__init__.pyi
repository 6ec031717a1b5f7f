"""Names of the package for type checkers; `__init__.py` imports them when they are used."""

__all__: list[str]

from neuvid.bitstream.container import PacketReader as PacketReader
from neuvid.bitstream.container import PacketWriter as PacketWriter
from neuvid.bitstream.packet import Packet as Packet
from neuvid.bitstream.packet import PassthroughChunk as PassthroughChunk
from neuvid.bitstream.packet import StreamHeader as StreamHeader
from neuvid.choice import FrameChoice as FrameChoice
from neuvid.choice import FrameKind as FrameKind
from neuvid.codec.clips import encode_clip as encode_clip
from neuvid.codec.decoder import Decoder as Decoder
from neuvid.codec.decoder import header_of as header_of
from neuvid.codec.encoder import Encoder as Encoder
from neuvid.codec.files import open_stream as open_stream
from neuvid.codec.schedule import Schedule as Schedule
from neuvid.codec.statistics import StreamStatistics as StreamStatistics
from neuvid.codec.streams import DecodeReport as DecodeReport
from neuvid.codec.streams import VerifyReport as VerifyReport
from neuvid.codec.streams import decode_stream as decode_stream
from neuvid.codec.streams import verify_stream as verify_stream
from neuvid.errors import CorruptStream as CorruptStream
from neuvid.errors import Desynchronised as Desynchronised
from neuvid.errors import InvalidSetting as InvalidSetting
from neuvid.errors import ModelMismatch as ModelMismatch
from neuvid.errors import NeuvidError as NeuvidError
from neuvid.errors import Truncated as Truncated
from neuvid.errors import UnknownVersion as UnknownVersion
from neuvid.errors import UnreadableInput as UnreadableInput
from neuvid.errors import UnwritableOutput as UnwritableOutput
from neuvid.models.checkpoint import Arithmetic as Arithmetic
from neuvid.models.checkpoint import LoadedModel as LoadedModel
from neuvid.models.checkpoint import load_model as load_model
from neuvid.rate.controller import FixedQuality as FixedQuality
from neuvid.rate.controller import FramePlan as FramePlan
from neuvid.rate.controller import FrameStats as FrameStats
from neuvid.rate.controller import FrameView as FrameView
from neuvid.rate.controller import RateController as RateController
from neuvid.rate.controller import Trial as Trial
from neuvid.video.clip import RawFormat as RawFormat
from neuvid.video.clip import create_clip as create_clip
from neuvid.video.clip import open_clip as open_clip
from neuvid.video.frame import ClipInfo as ClipInfo
from neuvid.video.frame import ColourTags as ColourTags
from neuvid.video.frame import Frame as Frame
from neuvid.video.frame import FrameSize as FrameSize
from neuvid.video.frame import PixelFormat as PixelFormat
