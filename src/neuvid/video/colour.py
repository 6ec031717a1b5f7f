"""Planes of a frame to the tensor that models see, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from neuvid.video.frame import BLUE, GREEN, RED, Frame, FrameSize, PixelFormat


def frame_to_tensor(frame: Frame, pixel_format: PixelFormat, multiple: int = 16) -> Tensor:
    """Return the frame as [1, 3, H, W] float32 in [0, 1], channels Y, U (Cb), V (Cr).

    H and W are rounded up to `multiple` (an even number); what is added at the bottom and at
    the right repeats the edge. Chroma of YUV420 is repeated 2x2; the samples keep their range,
    limited or full. RGB becomes full-range BT.709.
    """
    height, width = frame.planes[0].shape[:2]
    padded = FrameSize(width, height).padded(multiple)
    channels = torch.empty(3, padded.height, padded.width, dtype=torch.uint8)
    for channel, samples in zip(channels, _full_size_channels(frame, pixel_format), strict=True):
        _fill_repeating_edges(channel, samples)
    unit = channels.to(torch.float32).div_(255)
    return (_rgb_to_ycbcr(unit) if pixel_format is PixelFormat.RGB else unit).unsqueeze(0)


def tensor_to_frame(tensor: Tensor, size: FrameSize, pixel_format: PixelFormat, pts: int) -> Frame:
    """Return the frame of `size` in the top left corner of `tensor`, as `frame_to_tensor` made it.

    `tensor` is [1, 3, H, W], of any floating type and device, with even H and W that hold the
    size. Chroma of YUV420 is the mean of 2x2; values are clamped and rounded to the nearest.
    """
    unit = tensor[0].float()
    if pixel_format is PixelFormat.RGB:
        rgb = _ycbcr_to_rgb(unit[:, : size.height, : size.width])
        return Frame((torch.stack(_to_bytes(rgb).unbind(), -1).numpy(),), pts)
    luma = unit[0, : size.height, : size.width]
    chroma = unit[1:, : 2 * size.chroma.height, : 2 * size.chroma.width]
    rows = chroma[:, 0::2] + chroma[:, 1::2]
    chroma = (rows[..., 0::2] + rows[..., 1::2]) / 4  # [2, ceil(H/2), ceil(W/2)]
    planes = (_to_bytes(luma), *_to_bytes(chroma))
    return Frame(tuple(plane.numpy() for plane in planes), pts)


def _full_size_channels(frame: Frame, pixel_format: PixelFormat) -> tuple[Tensor, Tensor, Tensor]:
    """Three uint8 views [H, W]; those of chroma may be one sample larger."""
    if pixel_format is PixelFormat.RGB:
        red, green, blue = torch.from_numpy(frame.planes[0]).unbind(-1)
        return red, green, blue
    luma, u, v = (torch.from_numpy(plane) for plane in frame.planes)
    return luma, _repeat_2x2(u), _repeat_2x2(v)


def _repeat_2x2(samples: Tensor) -> Tensor:
    pairs = torch.stack((samples, samples), -1).flatten(1)
    return torch.stack((pairs, pairs), 1).flatten(0, 1)


def _fill_repeating_edges(channel: Tensor, samples: Tensor) -> None:
    height, width = (min(pair) for pair in zip(channel.shape, samples.shape, strict=True))
    channel[:height, :width] = samples[:height, :width]
    channel[:height, width:] = channel[:height, width - 1 : width]
    channel[height:] = channel[height - 1]


def _rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """Convert [3, H, W] in [0, 1]; products are added one by one, the same on every device."""
    red, green, blue = rgb
    ycbcr = torch.empty_like(rgb)
    y, cb, cr = ycbcr
    torch.mul(red, RED, out=y).add_(green * GREEN).add_(blue * BLUE)
    torch.sub(blue, y, out=cb).mul_(0.5 / (1 - BLUE)).add_(0.5)
    torch.sub(red, y, out=cr).mul_(0.5 / (1 - RED)).add_(0.5)
    return ycbcr.clamp_(0, 1)


def _ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    y, cb, cr = ycbcr
    rgb = torch.empty_like(ycbcr)
    red, green, blue = rgb
    torch.sub(cr, 0.5, out=red).mul_(2 - 2 * RED).add_(y)
    torch.sub(cb, 0.5, out=blue).mul_(2 - 2 * BLUE).add_(y)
    torch.sub(y, red * RED, out=green).sub_(blue * BLUE).mul_(1 / GREEN)
    return rgb


def _to_bytes(samples: Tensor) -> Tensor:
    """Samples in [0, 1] to contiguous uint8 on the CPU, of the same shape."""
    return (samples * 255).round_().clamp_(0, 255).to(torch.uint8).cpu().contiguous()
