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
from videoctx.inference.exported_file import (
    ANY_BATCH,
    INPUT,
    OUTPUT,
    ExportError,
    Format,
    check_installed,
    read,
    write,
)
from videoctx.models.test_head import describe_test_head

FILE_TOLERANCE = 1e-4  # of a probability: the file and the network that it was made of
TEST_TOLERANCE = 1e-2  # of a probability: the file and the test
NUM_RANDOM = 3
ANY_FRAMES = {0: "batch", 2: "height", 3: "width"}


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
    frame_size_px: tuple[int, int] | None = None,
    real_clip: Tensor | None = None,
) -> Agreement:
    """Export a network to a file, and compare its probabilities with those of the network.

    Args:
        trained: The classifier, on the CPU.
        path: The file to write.
        format: Format of the file.
        frame_size_px: Height and width of the frames that the file takes. None: any; it is compared on some.
        real_clip: (T, H, W, 3) uint8, to compare on.

    Raises:
        ExportError: A library is missing, something in the network cannot be exported, or the probabilities differ.
        OSError: The file cannot be written.
    """
    check_installed(format)
    network = DeployableNetwork(trained, frame_size_px=frame_size_px).eval()
    examples = _examples(trained, frame_size_px, real_clip)
    with atomic_write(path) as part:
        any_size = ANY_BATCH if frame_size_px else ANY_FRAMES
        metadata = _metadata(trained, frame_size_px)
        write(part, network, examples[0][:2], format=format, metadata=metadata, any_size=any_size)
        run, _ = read(part, format=format)
        differences: list[tuple[float, float]] = []
        for frames in examples:
            expected, tested = network(frames), _tested(trained, frames)
            for size in range(1, len(frames) + 1):
                made = torch.cat([run(some) for some in frames.split(size)])
                differences.append((float((made - expected).abs().max()), float((made - tested).abs().max())))
        # A NaN is kept, which `max` would drop.
        from_network, from_test = torch.tensor(differences).amax(dim=0).tolist()
        found = Agreement(from_network, from_test, sum(map(len, examples)))
        _check(found)
    return found


def _examples(trained: Classifier, frame_size_px: tuple[int, int] | None, real_clip: Tensor | None) -> list[Tensor]:
    """Return batches of clips (B, T, H, W, 3) uint8 of one size each: random ones, and the real one.

    The first has more than one clip, and another height than width.
    """
    short = trained.preprocessing.short_side_px
    first = frame_size_px or (short, round(short * 4 / 3) + 1)
    generator = torch.Generator().manual_seed(0)

    def random(num_clips: int, size: tuple[int, int]) -> Tensor:
        shape = (num_clips, trained.preprocessing.clip_len, *size, 3)
        return torch.randint(256, shape, dtype=torch.uint8, generator=generator)

    examples = [random(NUM_RANDOM, first)]
    if frame_size_px is None:  # an upright one, and larger
        examples.append(random(1, (2 * short + 1, short + 3)))
    return examples if real_clip is None else [*examples, real_clip[None]]


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


def _metadata(trained: Classifier, frame_size_px: tuple[int, int] | None) -> dict:
    height, width = frame_size_px or (None, None)
    return {
        "class_names": trained.class_names,
        "multi_label": trained.multi_label,
        "input": {
            "name": INPUT,
            "layout": "B, T, H, W, RGB",
            "dtype": "uint8",
            "shape": [None, trained.preprocessing.clip_len, height, width, 3],
        },
        "output": {"name": OUTPUT, "layout": "B, K", "dtype": "float32"},
        "preprocessing": trained.preprocessing.as_dict(),
        "head": describe_test_head(trained.net),
    }
