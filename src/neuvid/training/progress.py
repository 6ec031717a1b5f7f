"""Numbers about the steps of a run between two log lines."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from neuvid.choice import QUALITIES
from neuvid.training.chains import ChainLosses

THIRDS = ("low", "middle", "high")
PLANES = ("y", "u", "v")


class StepMeans:
    """Collects the losses of steps; `take` gives their means and starts anew.

    Nothing waits for the device before `take`.
    """

    def __init__(self, step: int, last_step: int) -> None:
        self.last_step = last_step
        self._restart(step)

    def _restart(self, step: int) -> None:
        self.step = step
        self.started = time.monotonic()
        self.qualities: list[float] = []
        self.losses: list[ChainLosses] = []

    def add(self, quality: tuple[float, ...], losses: ChainLosses) -> None:
        """Take the losses of a batch with one quality for each sample."""
        self.qualities.extend(quality)
        self.losses.append(losses.detach())

    def take(self, step: int) -> dict[str, float]:
        """Return means by name since the last call; `step` is how many steps are done.

        `seconds_left` is what the rest of the stage takes at this speed.
        """
        rate = (step - self.step) / (time.monotonic() - self.started)
        numbers = {"steps_per_second": rate, "seconds_left": (self.last_step - step) / rate}
        numbers |= self._means() if self.losses else {}
        self._restart(step)
        return numbers

    def _means(self) -> dict[str, float]:
        loss = torch.cat([each.loss for each in self.losses])
        finite = loss.isfinite()  # steps whose numbers are not were skipped
        if not finite.any():
            return {}
        loss = loss[finite]
        bits_per_pixel = torch.cat([each.bits_per_pixel for each in self.losses])[finite]
        psnr = torch.cat([each.plane_psnr for each in self.losses])[finite]
        quality = torch.tensor(self.qualities, device=loss.device)[finite]
        third = (quality * len(THIRDS) / QUALITIES).long()
        means = {"loss": loss.mean().item(), "bpp": bits_per_pixel.mean().item()}
        for number, name in enumerate(THIRDS):
            chosen = third == number
            if chosen.any():
                means[f"bpp_{name}"] = bits_per_pixel[chosen].mean().item()
                planes = psnr[chosen].mean(0).tolist()
                means |= {f"psnr_{p}_{name}": v for p, v in zip(PLANES, planes, strict=True)}
        return means


def describe_training(step: int, stage: str, numbers: Mapping[str, float]) -> str:
    """Return a line for people about what `StepMeans.take` gave."""
    parts = [f"{step:>7} {stage}"]
    if "loss" in numbers:
        parts.append(f"loss {numbers['loss']:.4f}  {numbers['bpp']:.4f} bpp")
    for name in THIRDS:
        if f"bpp_{name}" in numbers:
            planes = " ".join(f"{numbers[f'psnr_{plane}_{name}']:.2f}" for plane in PLANES)
            parts.append(f"{name} {numbers[f'bpp_{name}']:.3f} bpp {planes} dB")
    speed = numbers["steps_per_second"]
    left = f"{numbers['seconds_left'] / 3600:.2f} h left in the stage"
    parts.append(f"{speed:.2f} steps/s, {left}, {numbers['skipped']:.0f} skipped")
    return " | ".join(parts)


def describe_validation(step: int, numbers: Mapping[str, float]) -> str:
    """Return a line for people about a validation."""
    parts = [f"{step:>7} validation", f"loss {numbers['loss']:.4f}"]
    for name, bits_per_pixel in numbers.items():
        if name.startswith("bpp_"):
            quality = name.removeprefix("bpp_")
            psnr = numbers[f"psnr_{quality}"]
            parts.append(f"quality {quality}: {bits_per_pixel:.3f} bpp {psnr:.2f} dB")
    return " | ".join(parts)
