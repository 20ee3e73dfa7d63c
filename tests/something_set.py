"""A set as Something-Something v2: numbered videos of different lengths, their lists and the manifest."""

import json
from pathlib import Path

from data_prep.write_annotations.public_datasets import something_something
from tests.numbered import write_video

LENGTHS = {"train": [60, 37, 24, 5], "validation": [60, 23, 5]}


def make_something(folder: Path) -> Path:
    """Write `1.mp4`, `2.mp4`, … of `LENGTHS` frames at 12 per second, and return the path of their manifest."""
    entries: dict[str, list[dict[str, str]]] = {}
    number = 1
    for split, lengths in LENGTHS.items():
        entries[split] = []
        for num_frames in lengths:
            write_video(folder / f"{number}.mp4", num_frames=num_frames, width=64, height=48, fps=12)
            template = ("Pushing [something]", "Moving [something] up")[number % 2]
            entries[split].append({"id": str(number), "template": template})
            number += 1
    lists = {"labels": {"Pushing something": "0", "Moving something up": "1"}} | entries
    (folder / "lists").mkdir()
    for name, content in lists.items():
        (folder / "lists" / f"something-something-v2-{name}.json").write_text(json.dumps(content))
    assert something_something(folder, folder / "lists") == 0
    return folder / "manifest.csv"
