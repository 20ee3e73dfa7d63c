"""A sample of a manifest's videos."""

from collections.abc import Sequence

from videoctx.data.annotations import VideoRecord


def records_at_even_distances(records: Sequence[VideoRecord], num_videos: int | None) -> Sequence[VideoRecord]:
    """Return `num_videos` of the records at even distances, or all where there are no more or it is None."""
    if not num_videos or num_videos >= len(records):
        return records
    return [records[index * len(records) // num_videos] for index in range(num_videos)]
