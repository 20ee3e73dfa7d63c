"""A numbered video of every kind that decoders misread, made with FFmpeg's command line.

Every image carries its number as in `tests.numbered`, with less contrast and over a moving ramp, so that an incorrect
color range or matrix is seen as well as an incorrect frame.
"""

import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from filelock import FileLock

from tests.numbered import paint, read_number
from tests.once_per_session import once_per_session
from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.containers import VideoDecodeError, file_status, probe
from videoctx.data.decoding.pyav_reader import count_frames
from videoctx.data.decoding.video_reader import Decoder, open_video, probe_result_of
from videoctx.data.decoding.video_stream import video_stream
from videoctx.data.decoding.yuv_frames import YuvColors, rgb_by_decoder, rgb_by_torch

NUM_FRAMES = 60
WIDTH, HEIGHT, FPS = 160, 120, 25

_420 = "-pix_fmt yuv420p"
_X264 = f"-c:v libx264 -preset veryfast -g 24 -bf 3 -sc_threshold 0 -threads 1 {_420}"
_X264_CLOSED = f"{_X264} -x264-params open-gop=0:b-adapt=0:log-level=none"
_X264_ONE_GOP = f"{_X264_CLOSED} -g 250"
_X265 = "-c:v libx265 -preset superfast -x265-params keyint=24:pools=1:frame-threads=1:log-level=none"
_VPX = f"-g 24 -deadline good -cpu-used 5 -b:v 400k -threads 1 {_420}"
_ALT_REF = f"-auto-alt-ref 1 -lag-in-frames 25 -deadline good -cpu-used 4 -b:v 400k -threads 1 {_420}"  # in two passes
_Q = "-q:v 3 -g 24"
_UNEVEN = "-vf setpts=(N+3*floor(N/7))/25/TB -fps_mode vfr"

# file name: FFmpeg's options, and the decoders besides PyAV that are exact or are to be compared with it
ALL, NOT_DECORD, ONLY_PYAV = ("sparse", "decord", "torchcodec"), ("sparse", "torchcodec"), ()
ONLY_TORCHCODEC, ONLY_SPARSE = ("torchcodec",), ("sparse",)
ENCODED: dict[str, tuple[str, tuple[str, ...]]] = {
    "h264_closed.mp4": (_X264_CLOSED, ALL),
    "h264_closed.mkv": (_X264_CLOSED, ALL),
    "h264_closed.avi": (_X264_CLOSED, ONLY_PYAV),
    "h264_closed.ts": (_X264_CLOSED, ONLY_PYAV),
    "h264_closed.flv": (_X264_CLOSED, ONLY_PYAV),
    "h264_fragmented.mp4": (f"{_X264_CLOSED} -movflags frag_keyframe+empty_moov", NOT_DECORD),
    "h264_intra_refresh.mp4": (
        f"{_X264_CLOSED}:intra-refresh=1",
        NOT_DECORD,
    ),  # packets marked as key frames that are none
    "h264_one_gop.mp4": (_X264_ONE_GOP, ALL),
    "h264_open.mp4": (f"{_X264} -x264-params open-gop=1:b-adapt=0:b-pyramid=normal:log-level=none", ONLY_TORCHCODEC),
    "h264_10bit.mp4": (_X264_CLOSED.replace("yuv420p", "yuv420p10le"), ALL),
    "h264_full_range.mp4": (f"{_X264_CLOSED} -vf scale=out_range=pc -color_range pc", ALL),
    "h264_bt709.mp4": (f"{_X264_CLOSED} -vf scale=out_color_matrix=bt709 -colorspace bt709", ALL),
    "h264_uneven.mp4": (f"{_UNEVEN} {_X264_CLOSED}", ALL),
    "h264_uneven.mkv": (f"{_UNEVEN} {_X264_CLOSED}", ALL),
    "hevc_default.mp4": (f"{_X265} {_420}", NOT_DECORD),
    "hevc_closed.mp4": (f"{_X265}:open-gop=0 {_420}", ALL),
    "hevc_10bit.mkv": (f"{_X265}:open-gop=0 -pix_fmt yuv420p10le", ALL),
    "av1.mp4": (f"-c:v libaom-av1 -cpu-used 8 -g 24 -threads 1 {_420}", NOT_DECORD),
    "vp8.webm": (f"-c:v libvpx {_VPX}", ALL),
    "vp8_live.webm": (f"-c:v libvpx {_VPX} -live 1", NOT_DECORD),  # without a duration
    "vp8_alt_ref.webm": (f"-c:v libvpx {_ALT_REF}", ONLY_PYAV),  # packets that show nothing
    "vp9.webm": (f"-c:v libvpx-vp9 {_VPX}", ALL),
    "vp9_alt_ref.webm": (f"-c:v libvpx-vp9 {_ALT_REF}", ALL),  # in the packet of a frame that is shown
    "mpeg4.avi": (f"-c:v mpeg4 -bf 0 {_Q}", ALL),
    "mpeg4_b_frames.avi": (f"-c:v mpeg4 -bf 2 {_Q}", ONLY_PYAV),
    "mpeg4_b_frames.mp4": (f"-c:v mpeg4 -bf 2 {_Q}", ONLY_TORCHCODEC),
    "xvid.avi": (f"-c:v libxvid -bf 0 {_Q}", ALL),
    "xvid_b_frames.avi": (f"-c:v libxvid -bf 2 {_Q}", ONLY_PYAV),  # two images in one packet, then an empty one
    "mjpeg.avi": ("-c:v mjpeg -q:v 3 -pix_fmt yuvj420p", ALL),
    "wmv2.wmv": (f"-c:v wmv2 {_Q}", ONLY_PYAV),
    "mpeg1.mpg": (f"-c:v mpeg1video -bf 2 {_Q}", ONLY_PYAV),
    "mpeg2.ts": (f"-c:v mpeg2video -bf 2 {_Q}", ONLY_PYAV),
}
ODD_SIZES = {  # 161 × 121
    "h264_odd.mp4": (_X264_CLOSED.replace("yuv420p", "yuv444p"), ALL),
    "vp9_odd.webm": (f"-c:v libvpx-vp9 {_VPX}", ALL),
    "mpeg4_odd.avi": (f"-c:v mpeg4 -bf 0 {_Q}", ALL),
}
ONE_FRAME = {
    "one.mp4": (_X264_CLOSED, ALL),
    "one.avi": (f"-c:v mpeg4 {_Q}", ALL),
    "one.webm": (f"-c:v libvpx-vp9 {_VPX}", ALL),
}
COPIED = {  # from another of the corpus: FFmpeg's input options, output options
    "cut.mp4": ("h264_closed.mp4", "-ss 1.5", "-t 0.8", NOT_DECORD),
    "cut.mkv": ("h264_closed.mkv", "-ss 1.5", "-t 0.8", ALL),
    "cut.avi": ("mpeg4.avi", "-ss 1.5", "-t 0.8", ALL),
    "h264_several_trun.mp4": (
        "h264_closed.mp4",
        "",
        "-f lavfi -i sine=d=3 -c:a aac -map 0:v -map 1:a -movflags empty_moov -frag_duration 999999 -frag_interleave 5",
        NOT_DECORD,
    ),
    "late.mp4": ("h264_closed.mp4", "-itsoffset 0.5", "-f lavfi -i sine=d=3 -c:a aac -map 0:v -map 1:a", ALL),
}
_BOTH = "-map 0:v -map 1:v"
SEVERAL_STREAMS = {  # from two others: FFmpeg's options, decoders
    "larger_second.mkv": ("h264_closed.mp4", "h264_odd.mp4", f"{_BOTH} -disposition:v 0", NOT_DECORD),
    "default_second.mkv": (
        "h264_odd.mp4",
        "mpeg4.avi",
        f"{_BOTH} -disposition:v:0 0 -disposition:v:1 default",
        NOT_DECORD,
    ),
    "default_second.mp4": (
        "h264_odd.mp4",
        "mpeg4.avi",
        f"{_BOTH} -disposition:v:0 0 -disposition:v:1 default",
        NOT_DECORD,
    ),
    "cover.mp4": ("mjpeg.avi", "cut.mkv", "-map 1:v -map 0:v -frames:v:1 1 -disposition:v:1 attached_pic", NOT_DECORD),
}
# only comparing frames shows whether decoders other than the sparse one are exact
UNSURE = {
    *("h264_fragmented.mp4", "h264_several_trun.mp4", "h264_intra_refresh.mp4", "h264_odd.mp4", "vp8_live.webm"),
    *("cut.mp4", "hanging.mp4", *SEVERAL_STREAMS),
}
INEXACT_WHEN_SEEKING = {"h264_intra_refresh.mp4"}  # in every decoder but PyAV and the sparse one
# stored rows and columns are laid right and down as the first four numbers say
DISPLAY_MATRICES = {
    "turned_90.mp4": ((0, -1, 1, 0), ALL),
    "turned_180.mp4": ((-1, 0, 0, -1), ALL),
    "turned_270.mp4": ((0, 1, -1, 0), ALL),
    "mirrored.mp4": ((-1, 0, 0, 1), ONLY_SPARSE),
    "mirrored_and_turned.mp4": ((0, 1, 1, 0), ONLY_SPARSE),
}
HANGING = "hanging.mp4"
DECODERS = {
    **{name: decoders for group in (ENCODED, ODD_SIZES, ONE_FRAME) for name, (_, decoders) in group.items()},
    **{name: decoders for name, (*_, decoders) in (COPIED | SEVERAL_STREAMS).items()},
    **{name: decoders for name, (_, decoders) in DISPLAY_MATRICES.items()},
    HANGING: NOT_DECORD,
}


def faint_image(number: int, *, width: int, height: int) -> np.ndarray:
    """The image of a number, 32 to 223, over a ramp of ±14 that moves with the number."""
    ramp = 14 * np.sin((np.arange(width) + 3 * number) / 12)
    return (paint(number, width=width, height=height) * 0.75 + 32 + ramp[None, :, None]).round().astype(np.uint8)


def read_faint_number(image: np.ndarray) -> int:
    """As `read_number`, of a faint image."""
    return read_number(((image.astype(float) - 32) / 0.75).clip(0, 255))


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all test processes make the files that they only read."""
    return once_per_session(tmp_path_factory, "corpus", lambda _: None)


def make(name: str, folder: Path) -> Path:
    """Write one file of the corpus, and what it is made of; a file that is there is kept."""
    with FileLock(folder / f"{name}.lock"):
        return _make(name, folder)


def _make(name: str, folder: Path) -> Path:
    path = folder / name
    if path.exists():
        return path
    if name in COPIED:
        source, before, after, _ = COPIED[name]
        _ffmpeg(*before.split(), "-i", str(make(source, folder)), *after.split(), "-c:v", "copy", str(path))
    elif name in SEVERAL_STREAMS:
        *sources, options, _ = SEVERAL_STREAMS[name]
        inputs = [word for source in sources for word in ("-i", str(make(source, folder)))]
        _ffmpeg(*inputs, *options.split(), "-c:v", "copy", str(path))
    elif name in DISPLAY_MATRICES:
        _write_with_display_matrix(path, DISPLAY_MATRICES[name][0])
    elif name == HANGING:
        write_hanging_video(path)
    else:
        options, _ = (ENCODED | ODD_SIZES | ONE_FRAME)[name]
        width, height = (WIDTH + 1, HEIGHT + 1) if name in ODD_SIZES else (WIDTH, HEIGHT)
        numbers = range(1 if name in ONE_FRAME else NUM_FRAMES)
        images = b"".join(faint_image(number, width=width, height=height).tobytes() for number in numbers)
        raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {FPS} -i -"
        if _ALT_REF in options:  # FFmpeg's encoder decides on them in a first pass
            first = ["-pass", "1", "-passlogfile", str(path), "-f", "null", "-"]
            _ffmpeg(*raw.split(), *options.split(), *first, stdin=images)
            options = f"{options} -pass 2 -passlogfile {path}"
        _ffmpeg(*raw.split(), *options.split(), str(path), stdin=images)
    return path


def expect(path: Path) -> np.ndarray:
    """What FFmpeg's command line decodes and turns upright: (num_frames, H, W, 3) uint8."""
    shape = _shape(path)
    raw = _ffmpeg("-i", str(path), *["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
    return np.frombuffer(raw, np.uint8).reshape(-1, *shape)


def planes_of(path: Path, decoder: Decoder = "pyav") -> YuvColors | None:
    """The colors of the planes that a reader hands over, which are its RGB once they are converted; None: RGB."""
    with open_video(str(path), decoder) as reader:
        indices = np.arange(0, reader.num_frames, 7)
        found, wanted = reader.read_yuv(indices), reader.read(indices)
    pixels = found.pixels
    if found.colors is not None:
        assert 2 * pixels.nbytes == wanted.nbytes
        pixels = rgb_by_torch(torch.from_numpy(pixels), found.colors).numpy()
        np.testing.assert_array_equal(rgb_by_decoder(found.pixels, found.colors), wanted)
    difference = np.abs(pixels.astype(np.int16) - wanted)
    assert difference.max() <= 1, path.name
    assert difference.mean() <= 0.3, path.name
    return found.colors


def write_hanging_video(path: Path, *, num_frames: int = 3000) -> Path:
    """A whole MP4 of which all frames but the last are cut away by its edit list, as stream copying cuts.

    It shows one frame. decord counts them all, and never returns when it is asked for one that is more than 129
    frames in: it waits for frames that its decoder will not give. No signal but SIGKILL ends it.
    """
    image = av.VideoFrame.from_ndarray(paint(0, width=96, height=80), format="rgb24")
    one_gop = f"keyint={num_frames}:min-keyint={num_frames}:scenecut=0:bframes=0:threads=1:log-level=none"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "x264-params": one_gop})
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for frame in [*[image] * num_frames, None]:
            if frame is not None:
                frame.pts = None
            for packet in stream.encode(frame):
                earlier = round((num_frames - 1) / FPS / packet.time_base)
                packet.pts, packet.dts = packet.pts - earlier, packet.dts - earlier
                container.mux(packet)
    return path


def flip_bits(path: Path, target: Path, *, seed: int, num_bits: int = 3) -> Path:
    """A copy with bits flipped in its middle half."""
    rng, content = np.random.default_rng(seed), bytearray(path.read_bytes())
    for place in rng.integers(len(content) // 4, len(content) * 3 // 4, size=num_bits):
        content[place] ^= 1 << int(rng.integers(8))
    target.write_bytes(content)
    return target


def _write_with_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Images stored as they must be for the display matrix to put them right."""
    a, b, c, d = matrix
    options = {"g": "24", "bf": "3", "x264-params": "open-gop=0:b-adapt=0:threads=1:log-level=none"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height = (WIDTH, HEIGHT) if a else (HEIGHT, WIDTH)
        stream.pix_fmt = "yuv420p"
        unit = 1 << 16
        if not hasattr(stream, "set_display_matrix"):
            pytest.skip("PyAV before 17.1 cannot write a display matrix")
        stream.set_display_matrix([a * unit, b * unit, 0, c * unit, d * unit, 0, 0, 0, 1 << 30])
        for number in range(NUM_FRAMES // 2):
            image = faint_image(number, width=WIDTH, height=HEIGHT)[:: b + d, :: a + c]
            stored = image if a else image.swapaxes(0, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")))
        container.mux(stream.encode())


def _shape(path: Path) -> tuple[int, int, int]:
    """Of an upright image; FFmpeg's raw output does not say."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video_stream(container)))
    height, width = frame.height, frame.width
    return (width, height, 3) if round(frame.rotation) % 180 else (height, width, 3)


def _ffmpeg(*arguments: str, stdin: bytes | None = None) -> bytes:
    command = ["ffmpeg", "-v", "error", "-nostdin" if stdin is None else "-y", "-y", *arguments]
    return subprocess.run(command, input=stdin, check=True, capture_output=True, timeout=60).stdout


def inspect_video(path: str) -> ProbeResult:
    """What `data_prep.inspect_videos` finds of a file, without its hashes and without comparing decoders."""
    try:
        size = file_status(path).st_size
    except VideoDecodeError as error:
        return ProbeResult(0, (), 0, 0.0, problem=error.reason)
    try:
        container = probe(path)
        num_frames = count_frames(path)
    except VideoDecodeError as error:
        return ProbeResult(size, (), 0, 0.0, problem=error.reason)
    return probe_result_of(container, num_frames=num_frames, size_bytes=size)
