"""Decoding on the video engine of a GPU (NVDEC), with torchcodec 0.17 or newer.

**This has not run on a GPU yet.** Everything but NVDEC itself is tested with the same decoder on the CPU.

Making a decoder costs hundreds of milliseconds, and decoding a clip a few. So decoders are kept: those of files by
`NvdecDecoders`, and the hardware's, by codec and size of the frames, by torchcodec.

What NVDEC does not decode, torchcodec would decode in this process, where the training runs. Such files are refused
here, and decoding processes read them (`videoctx.data.loading.gpu_decoding`).
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torchcodec.decoders import VideoDecoder, set_nvdec_cache_capacity

from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.containers import VideoDecodeError, decoder_errors, file_status, probe_whole
from videoctx.data.decoding.torchcodec_reader import reason_of
from videoctx.data.decoding.video_reader import check_unchanged
from videoctx.data.storage.locations import holds_images
from videoctx.user_error import UserError

PIXEL_FORMATS = ("yuv420p", "yuvj420p")  # 8 bits: what all NVDEC engines decode, and what was compared
NO_ENGINE = ("NVcuvid unavailable", "Unsupported device", "Torch not compiled with CUDA")


class NotOnGpuError(UserError):
    """A file is not decoded on the GPU. The message is the reason.

    Attributes:
        concerns_all_files: whether there is no NVDEC at all.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.concerns_all_files = any(sign in reason for sign in NO_ENGINE)


class NvdecReader:
    """Frames of a video, decoded on a GPU and left there.

    Args:
        path: Path of the file.
        device: A GPU, or the CPU, where the same decoder runs without NVDEC.
        num_frames: Number of frames if it is known. Otherwise it is that of the container.

    Raises:
        NotOnGpuError: NVDEC does not decode the file, or torchcodec may not be exact on it.
        VideoDecodeError: The file is damaged.
    """

    def __init__(self, path: str, device: torch.device, *, num_frames: int | None) -> None:
        container = probe_whole(path)
        if "torchcodec" not in container.decoders:
            raise NotOnGpuError(f"torchcodec may not be exact: {container.why_not.get('torchcodec')}")
        if container.pixel_format not in PIXEL_FORMATS or container.rotation or container.mirrored:
            raise NotOnGpuError("its frames are turned, or have another pixel format than 8-bit 4:2:0")
        self._path = path
        self.fps = container.fps
        self.frame_seconds = container.frame_seconds if container.variable_frame_rate else None
        try:
            with decoder_errors(path, reason_of):
                self._decoder = VideoDecoder(
                    f"file:{path}",
                    stream_index=container.stream_index,
                    dimension_order="NHWC",
                    num_ffmpeg_threads=1,
                    seek_mode="exact",
                    device=str(device),
                )
        except VideoDecodeError as error:
            if any(sign in error.reason for sign in NO_ENGINE):
                raise NotOnGpuError(error.reason) from error
            raise
        if self._decoder.cpu_fallback:
            raise NotOnGpuError(str(self._decoder.cpu_fallback))
        self.num_frames: int = num_frames or container.num_frames or len(self._decoder)
        if len(self._decoder) < self.num_frames:
            raise NotOnGpuError(f"torchcodec finds {len(self._decoder)} frames; expected {self.num_frames}")

    def read(self, indices: np.ndarray) -> Tensor:
        """Decode the frames at sorted, distinct indices. Returns (U, H, W, 3) uint8 RGB on the device."""
        with decoder_errors(self._path, reason_of):
            return self._decoder.get_frames_at(indices.tolist()).data


class NvdecDecoders:
    """The decoders of the files that were read last. It is for one thread.

    Args:
        device: See `NvdecReader`.
        most: Number of decoders that are kept. The least recently used one is closed first.
    """

    def __init__(self, device: torch.device, *, most: int) -> None:
        self.device = device
        self.most = most
        self._kept: OrderedDict[tuple[str, int, int], NvdecReader] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def open(
        self,
        path: str,
        decoder: str,  # noqa: ARG002
        probe_result: ProbeResult | None,
        fps: float | None = None,  # noqa: ARG002
    ) -> Iterator[NvdecReader]:
        """Open a file for reading. The arguments are those of `open_video`, and the errors those of `NvdecReader`."""
        if holds_images(path):
            raise NotOnGpuError("images are decoded on the CPU")
        if probe_result is not None:
            check_unchanged(path, probe_result)
        status = file_status(path)
        key = path, status.st_size, status.st_mtime_ns
        reader = self._kept.pop(key, None)
        if reader is None:
            reader = NvdecReader(path, self.device, num_frames=probe_result.num_frames if probe_result else None)
        yield reader
        self._kept[key] = reader  # not after an error, which may leave it in any state
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)


def keep_hardware_decoders(most: int) -> None:
    """Let torchcodec keep this many decoders of each GPU, by codec and frame size, instead of making them again."""
    set_nvdec_cache_capacity(most)
