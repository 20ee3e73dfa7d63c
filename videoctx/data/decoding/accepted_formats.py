"""The container formats that are opened as a video, and the options that keep FFmpeg to them.

FFmpeg looks at a file's bytes and not at its name. A playlist, an FFconcat script or a list of images that is named
`video.mp4` would make it read other files, and a text file or an image would be decoded as a video. So FFmpeg gets an
explicit list of formats, all of which hold their frames themselves, and opens no address but local files.

Not among them, on purpose: playlists and scripts; images, also animated WebP, and motion JPEG without a container where
FFmpeg takes it for a JPEG file; raw frames without a header, whose size nothing states; formats of several files
(MLV, VobSub); text, subtitles and sound.
"""

import os
from pathlib import Path

from videoctx.data.decoding.file_structure import boxes

# FFmpeg's names
USUAL_FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "asf_o", "ogg")
OTHER_FORMATS = (
    *("mxf", "nut", "ivf", "gif", "apng", "dv", "rm", "swf", "wtv", "gxf", "lxf", "nsv", "nuv", "pva", "ty", "dhav"),
    *("kux", "amv", "mtv", "yuv4mpegpipe", "cine", "lmlm4", "mpegtsraw", "iv8", "viv", "vivo", "moflex", "usm", "iff"),
    *(
        "hxvs",
        "ifv",
        "ipu",
        "ivr",
        "luodat",
        "lvf",
        "mpjpeg",
        "mxg",
        "nc",
        "r3d",
        "sdr2",
        "ser",
        "smjpeg",
    ),  # of cameras
)
RAW_STREAMS = (
    *("h264", "hevc", "vvc", "evc", "av1", "obu", "m4v", "mpegvideo", "mjpeg", "vc1", "vc1test", "h261", "h263"),
    *("cavsvideo", "avs2", "avs3", "dirac", "dnxhd", "apv"),
)
GAME_FORMATS = (
    *("4xm", "bethsoftvid", "bink", "c93", "cdxl", "dfa", "dsicin", "dxa", "ea", "film_cpk", "flic", "gdv", "hnm"),
    *("idcin", "ipmovie", "jv", "mm", "mv", "mvi", "paf", "psxstr", "rl2", "roq", "rpl", "smk", "smush", "sol", "thp"),
    *("tiertexseq", "txd", "vmd", "wc3movie", "wsvqa", "xmv", "yop"),
)
FORMATS = (*USUAL_FORMATS, *OTHER_FORMATS, *RAW_STREAMS, *GAME_FORMATS)

OPEN_OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
FFMPEG_OPTIONS = tuple(word for name, value in OPEN_OPTIONS.items() for word in (f"-{name}", value))  # before `-i`

HEAD_BYTES = 64
JPEG = b"\xff\xd8\xff"
TEXT_BYTES = frozenset(b"\t\n\f\r\x1b") | frozenset(range(0x20, 0x100))
BOX_HEADER_BYTES = 8
MP4_ATOMS = (b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"styp", b"sidx", b"pnot", b"uuid")


def is_indexed_container(path: str) -> bool:
    """Return whether the first bytes are those of MP4, Matroska or AVI, so that no decoder takes it for a playlist."""
    head = _head(path)
    return head[4:8] in MP4_ATOMS or head[:4] == b"\x1a\x45\xdf\xa3" or (head[:4], head[8:12]) == (b"RIFF", b"AVI ")


def why_not_accepted(path: str, *, not_accepted: bool) -> str | None:
    """Return what a file is that FFmpeg does not open. None if it cannot be told.

    Args:
        not_accepted: FFmpeg knows its format, and it is none of `FORMATS`.
    """
    head = _head(path)
    if head.startswith((b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD")):
        return "a playlist, which is not followed; expected a file that holds the video itself"
    if head and not head.startswith(b"YUV4MPEG2") and TEXT_BYTES.issuperset(head):
        return "a text file; expected a video"
    if head.startswith(JPEG):
        return "a JPEG image, or several; `ffmpeg -framerate 25 -i FILE -c copy NEW.avi` makes a video of several"
    if not_accepted:
        return "an image or a list of files, not a container of videos"
    if _lacks_index(path):
        return "not a whole video: the file has no index (moov), so it was cut off or is still being written"
    return None


def _lacks_index(path: str) -> bool:
    """Return whether a file starts as MP4 and ends before its index, which most writers put behind the frames."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = list(boxes(file, 0, size))
    kinds = [kind for kind, *_ in found]
    is_whole_chain = bool(found) and found[-1][2] > size - BOX_HEADER_BYTES  # else other bytes follow the last box
    return is_whole_chain and kinds[0] in MP4_ATOMS and b"moov" not in kinds


def _head(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(HEAD_BYTES)
