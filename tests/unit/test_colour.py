"""Planes become tensors and come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuvid.errors import InvalidSetting
from neuvid.video.colour import frame_to_tensor, tensor_to_frame
from neuvid.video.frame import ClipInfo, ColourTags, Frame, FrameSize, PixelFormat, plane_shapes

SIZES = st.builds(FrameSize, st.integers(1, 33), st.integers(1, 35))
FORMATS = st.sampled_from(PixelFormat)


def noise_frame(size: FrameSize, pixel_format: PixelFormat, seed: int = 0) -> Frame:
    noise = np.random.default_rng(seed)
    shapes = plane_shapes(size, pixel_format)
    return Frame(tuple(noise.integers(0, 256, shape, dtype=np.uint8) for shape in shapes), seed)


@settings(max_examples=60, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99))
def test_yuv_round_trip_is_exact(size: FrameSize, seed: int) -> None:
    frame = noise_frame(size, PixelFormat.YUV420, seed)
    tensor = frame_to_tensor(frame, PixelFormat.YUV420)
    back = tensor_to_frame(tensor, size, PixelFormat.YUV420, frame.pts)
    assert back.pts == frame.pts
    for plane, original in zip(back.planes, frame.planes, strict=True):
        np.testing.assert_array_equal(plane, original)
        assert plane.flags.c_contiguous


@settings(max_examples=40, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99))
def test_rgb_round_trip_is_within_one_level(size: FrameSize, seed: int) -> None:
    frame = noise_frame(size, PixelFormat.RGB, seed)
    tensor = frame_to_tensor(frame, PixelFormat.RGB)
    (back,) = tensor_to_frame(tensor, size, PixelFormat.RGB, 0).planes
    assert back.flags.c_contiguous
    assert np.abs(back.astype(int) - frame.planes[0]).max() <= 1


@settings(max_examples=40, deadline=None)
@given(size=SIZES, pixel_format=FORMATS, multiple=st.sampled_from([2, 16, 64]))
def test_padding_repeats_the_edge(
    size: FrameSize, pixel_format: PixelFormat, multiple: int
) -> None:
    tensor = frame_to_tensor(noise_frame(size, pixel_format), pixel_format, multiple)
    padded = size.padded(multiple)
    assert tensor.shape == (1, 3, padded.height, padded.width)
    height, width = tensor.shape[2], tensor.shape[3]
    inside = tensor[..., : size.height, : size.width]
    edges = (0, width - size.width, 0, height - size.height)
    expected = torch.nn.functional.pad(inside, edges, mode="replicate")
    assert torch.equal(tensor, expected)


def test_chroma_samples_cover_two_by_two_pixels() -> None:
    frame = noise_frame(FrameSize(33, 19), PixelFormat.YUV420)
    y, u, v = frame_to_tensor(frame, PixelFormat.YUV420)[0]
    np.testing.assert_array_equal(y[:19, :33].numpy(), np.float32(frame.planes[0]) / 255)
    for channel, plane in ((u, frame.planes[1]), (v, frame.planes[2])):
        for row in range(2):
            for column in range(2):
                samples = channel[row:20:2, column:34:2].numpy()
                np.testing.assert_array_equal(samples, np.float32(plane) / 255)


def test_rgb_becomes_full_range_bt709() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    ycbcr = frame_to_tensor(Frame((pixels,), 0), PixelFormat.RGB)[0, :, 0, :4]
    luma = [0.2126, 0.7152, 0.0722, 1.0]
    blue = [0.5 - 0.5 * 0.2126 / 0.9278, 0.5 - 0.5 * 0.7152 / 0.9278, 1.0, 0.5]
    red = [1.0, 0.5 - 0.5 * 0.7152 / 0.7874, 0.5 - 0.5 * 0.0722 / 0.7874, 0.5]
    torch.testing.assert_close(ycbcr, torch.tensor([luma, blue, red]), atol=1e-6, rtol=0)


def test_rendering_rounds_to_nearest_and_clamps() -> None:
    levels = torch.tensor([-0.3, 0.49 / 255, 0.51 / 255, 254.49 / 255, 254.51 / 255, 1.7])
    tensor = levels.repeat(3, 2, 1).unsqueeze(0)  # [1, 3, 2, 6]
    luma, u, v = tensor_to_frame(tensor, FrameSize(6, 2), PixelFormat.YUV420, 0).planes
    assert luma[0].tolist() == [0, 0, 1, 254, 255, 255]
    assert u.shape == v.shape == (1, 3)
    gentle = torch.full((1, 3, 2, 2), 0.6 / 255)
    assert [
        int(plane.max())
        for plane in tensor_to_frame(gentle, FrameSize(2, 2), PixelFormat.YUV420, 0).planes
    ] == [1, 1, 1]


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_half_precision_renders_like_single(pixel_format: PixelFormat) -> None:
    size = FrameSize(18, 10)
    tensor = frame_to_tensor(noise_frame(size, pixel_format), pixel_format).half()
    half = tensor_to_frame(tensor, size, pixel_format, 0)
    single = tensor_to_frame(tensor.float(), size, pixel_format, 0)
    for plane, expected in zip(half.planes, single.planes, strict=True):
        np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_planes_of_any_memory_layout_are_contiguous(pixel_format: PixelFormat) -> None:
    size = FrameSize(18, 10)
    frame = noise_frame(size, pixel_format)
    tensor = frame_to_tensor(frame, pixel_format).to(memory_format=torch.channels_last)
    back = tensor_to_frame(tensor, size, pixel_format, 0)
    for plane, original in zip(back.planes, frame.planes, strict=True):
        np.testing.assert_array_equal(plane, original)
        assert plane.flags.c_contiguous


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0), (65536, 4), (4, -1)])
def test_sizes_out_of_range_are_refused(width: int, height: int) -> None:
    with pytest.raises(InvalidSetting, match=r"(width|height) is .*; allowed is 1\.\.65535"):
        FrameSize(width, height)


def test_clip_info_refuses_what_no_clip_has() -> None:
    size = FrameSize(4, 4)
    with pytest.raises(InvalidSetting, match="frame_rate"):
        ClipInfo(size, PixelFormat.RGB, frame_rate=0, time_base=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting, match="colour range"):
        ColourTags(range=3)
