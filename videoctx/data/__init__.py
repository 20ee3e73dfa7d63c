"""From video files to batches of clips."""

from videoctx.data.datamodule import VideoDataModule

__all__ = ["VideoDataModule"]
