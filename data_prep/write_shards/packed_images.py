"""A folder of images as one tar file, which a shard can hold: the same bytes each time, whatever the names."""

import tarfile
from io import BytesIO
from pathlib import Path

from videoctx.data.decoding.containers import decoder_errors
from videoctx.data.decoding.image_files import ImageFolder, reason_of

SUFFIX = "tar"


def packed_size(folder: str) -> int:
    """Return the size of the tar file in bytes.

    Raises:
        VideoDecodeError: The folder does not hold the frames of one video.
    """
    blocks = sum(1 + -(-status.st_size // tarfile.BLOCKSIZE) for status in ImageFolder(folder).statuses())
    size = (blocks + 2) * tarfile.BLOCKSIZE  # two empty blocks at the end
    return -(-size // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def packed_images(folder: str) -> bytes:
    """Return the tar file of the images, which are numbered from 0.

    Raises:
        VideoDecodeError: The folder does not hold the frames of one video, or an image cannot be read.
    """
    images = ImageFolder(folder)
    file = BytesIO()
    with (
        decoder_errors(folder, reason_of),
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for index, name in enumerate(images.names):
            content = images.read(index)
            member = tarfile.TarInfo(f"{index:06d}{Path(name).suffix.lower()}")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return file.getvalue()
