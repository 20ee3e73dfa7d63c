"""Numbers of frames that lists state, compared with the images of a folder.

mmaction2 reads `frames` images after the first `offset` ones (`RawframeDataset` with `with_offset`). Such a row becomes
a segment in seconds.
"""

from dataclasses import replace
from pathlib import Path

from data_prep.write_annotations.layouts.listing import ListedVideo
from videoctx.data.decoding.image_files import open_images
from videoctx.data.storage.locations import holds_images


def with_seconds(video: ListedVideo, path: Path, frames_fps: float | None) -> ListedVideo:
    """Return a row with the seconds of its frames, if these are not all images of its folder.

    Args:
        frames_fps: Frame rate of images. None: the video is a file, whose number of frames is not compared.

    Raises:
        VideoDecodeError: The images are not the frames of one video.
        ValueError: There are fewer images than the list states, or the first frame of a file of video is stated.
    """
    if video.num_frames is None:
        return video
    if frames_fps is None or not holds_images(str(path)):
        if video.first_frame:
            raise ValueError(f"starts at frame {video.first_frame}, which only images have; {str(path)!r} is a video")
        return video
    with open_images(str(path)) as images:
        found = len(images.names)
    stop = video.first_frame + video.num_frames
    if found < stop:
        raise ValueError(f"{str(path)!r} has {found} images, but the list needs {stop}")
    if (video.first_frame, stop) == (0, found):
        return video
    start_seconds = video.first_frame / frames_fps if video.first_frame else None
    return replace(video, start_seconds=start_seconds, end_seconds=stop / frames_fps if stop < found else None)
