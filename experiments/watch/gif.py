"""A moving picture of a day, frame by frame what `render()` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.records import write_atomic

COLOURS = 64  # of the palette: flat colours need no more
FRAME_MS = 110
LAST_MS = 2500


class Gif:
    """Collects frames: a hook of `experiments.watch.record.record_day`."""

    def __init__(self) -> None:
        self._frames: list[Image.Image] = []

    def __call__(self, frame: NDArray[np.uint8]) -> None:
        """Keep a frame."""
        image = Image.fromarray(frame)
        self._frames.append(image.quantize(COLOURS, dither=Image.Dither.NONE))

    def save(self, file: Path) -> None:
        """Write the frames as a GIF that begins anew when it ends."""
        first, *rest = self._frames
        waits = [FRAME_MS] * len(rest) + [LAST_MS]
        write_atomic(
            file,
            lambda path: first.save(
                path,
                "GIF",
                save_all=True,
                append_images=rest,
                duration=waits,
                loop=0,
                optimize=True,
            ),
        )
