"""Export of a trained network to a file that is verified to compute what the network computes.

Three are compared, on random clips and on a real one: the file, read back; the deployable network that was exported;
and the network under the preprocessing of its test. The first two may differ only by rounding. The third may resize
bytes, and the kernel of another processor may round one of them differently.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from videoctx.atomic_write import atomic_write
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.inference.classifier import Classifier
from videoctx.inference.deployable import DeployableNetwork
from videoctx.inference.exported_file import INPUT, OUTPUT, ExportError, Format, check_installed, read, write
from videoctx.models.test_head import describe_test_head

FILE_TOLERANCE = 1e-4  # of a probability: the file and the network that it was made of
TEST_TOLERANCE = 1e-2  # of a probability: the file and the test
NUM_RANDOM = 3
BATCHES = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The greatest differences of a probability: from the deployable network, and from the test."""

    from_network: float
    from_test: float
    num_clips: int


@torch.no_grad()
def export(
    trained: Classifier,
    path: Path,
    *,
    format: Format,
    frame_size_px: tuple[int, int],
    real_clip: Tensor | None = None,
) -> Agreement:
    """Export a network to a file, and compare its probabilities with those of the network.

    Args:
        trained: The classifier, on the CPU.
        path: The file to write.
        format: Format of the file.
        frame_size_px: Height and width of the frames that the file takes.
        real_clip: (T, H, W, 3) uint8, to compare on.

    Raises:
        ExportError: A library is missing, something in the network cannot be exported, or the probabilities differ.
        OSError: The file cannot be written.
    """
    check_installed(format)
    network = DeployableNetwork(trained, frame_size_px=frame_size_px).eval()
    shape = (NUM_RANDOM, trained.preprocessing.clip_len, *frame_size_px, 3)
    frames = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if real_clip is not None:
        frames = torch.cat([real_clip[None], frames])
    with atomic_write(path) as part:
        write(part, network, frames[:2], format=format, metadata=_metadata(trained, frame_size_px))
        run, _ = read(part, format=format)
        from_file = [torch.cat([run(some) for some in frames.split(size)]) for size in BATCHES]
        expected, tested = network(frames), _tested(trained, frames)
        found = Agreement(
            max(float((made - expected).abs().max()) for made in from_file),
            max(float((made - tested).abs().max()) for made in from_file),
            len(frames),
        )
        _check(found)
    return found


def _check(found: Agreement) -> None:
    for difference, tolerance, other in (
        (found.from_network, FILE_TOLERANCE, "the network"),
        (found.from_test, TEST_TOLERANCE, "the preprocessing of the test"),
    ):
        if not difference <= tolerance:  # also where it is no number
            raise ExportError(
                f"not written: a probability differs by {difference:.2g} from that with {other};"
                f" expected at most {tolerance:g}"
            )


def _tested(trained: Classifier, frames: Tensor) -> Tensor:
    """Return the probabilities (B, K) of clips (B, T, H, W, 3) that are preprocessed as in a test with one crop."""
    positions = torch.arange(frames.shape[1])[None]
    videos = [
        DecodedVideo(path="", row=row, label=-1, seed=0, frames=clip, clips=positions, starts=[0])
        for row, clip in enumerate(frames)
    ]
    clips = trained.preprocessing.transform(num_crops=1)(DecodedBatch(videos), num_clips=1).clips[:]
    return trained.probabilities(trained.net(clips))


def _metadata(trained: Classifier, frame_size_px: tuple[int, int]) -> dict:
    return {
        "class_names": trained.class_names,
        "multi_label": trained.multi_label,
        "input": {
            "name": INPUT,
            "layout": "B, T, H, W, RGB",
            "dtype": "uint8",
            "shape": [None, trained.preprocessing.clip_len, *frame_size_px, 3],
        },
        "output": {"name": OUTPUT, "layout": "B, K", "dtype": "float32"},
        "preprocessing": trained.preprocessing.as_dict(),
        "head": describe_test_head(trained.net),
    }
