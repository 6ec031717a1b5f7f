"""The most memory that a process held; known on Linux alone."""

from __future__ import annotations

from pathlib import Path

PROCESSES = Path("/proc")
RESET = "5"  # to `clear_refs`: measure the peak anew from here on


def reset_peak(process: int) -> None:
    """Begin to measure the peak of a process anew."""
    file = PROCESSES / str(process) / "clear_refs"
    if file.exists():
        file.write_text(RESET)


def peak_bytes(process: int) -> int | None:
    """Return the most bytes that a process held, None where that is unknown or it has ended."""
    try:
        lines = (PROCESSES / str(process) / "status").read_text().splitlines()
    except OSError:
        return None
    peaks = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return next(peaks, None)
