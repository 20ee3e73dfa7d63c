from pathlib import Path

import pytest

from tests.data_prep.inspect_videos.scenes import QUIET, encode, scene


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> dict[str, Path]:
    """Four scenes, and one of them encoded in other ways."""
    folder = tmp_path_factory.mktemp("videos")
    images = scene(0)
    return {f"scene{seed}": encode(folder / f"scene{seed}.mp4", scene(seed)) for seed in range(4)} | {
        "another codec": encode(folder / "mpeg4.avi", images, codec="mpeg4", options={"b": "300k", "threads": "1"}),
        "smaller": encode(folder / "smaller.mp4", images, size=(64, 48)),
        "another shape": encode(folder / "square.mp4", images, size=(112, 112)),
        "few bits": encode(folder / "few_bits.mp4", images, options=QUIET | {"crf": "40"}),
        "brighter": encode(folder / "brighter.mp4", 50 + 0.8 * images),
        "trimmed": encode(folder / "trimmed.mp4", images[1:-1]),
        "every second frame": encode(folder / "every_second.mp4", images[::2]),
    }
