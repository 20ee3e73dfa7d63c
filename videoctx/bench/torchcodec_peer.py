"""torchcodec as its users run it: `get_frames_at` in a dataset, and a `DataLoader` that collates clips into batches."""

from collections.abc import Sequence

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from videoctx.bench.bare_decoding import Clip
from videoctx.bench.peer_process import Epoch


class Clips(Dataset[Tensor]):
    """Clips, (clip_len, 3, H, W) uint8."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Tensor:
        return read_clip(self.clips[index])


def torchcodec_epoch(clips: Sequence[Clip], *, batch_size: int, num_workers: int) -> Epoch:
    """Return a loader's epoch."""
    loader = DataLoader(Clips(clips), batch_size=batch_size, num_workers=num_workers, persistent_workers=True)
    return lambda: sum(len(batch) for batch in loader)


def read_clip(clip: Clip) -> Tensor:
    """Return a clip, (clip_len, 3, H, W) uint8 RGB."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(clip.path)  # one thread and exact seeking, its defaults
    length = len(decoder)
    return decoder.get_frames_at([frame % length for frame in clip.frames]).data
