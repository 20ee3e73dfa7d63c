"""Makes the images of the page for the README, with the networks of `make demo` and videos of the toy set.

.venv/bin/python .ci/page_images.py runs/demo/nl/version_0/checkpoints/best.ckpt
"""

import argparse
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from videoctx.atomic_write import atomic_write
from videoctx.inference.timed_frames import open_timed_frames
from videoctx.visualize.video_file import write_video

FOLDER = Path(__file__).parents[1] / "videoctx" / "app"
SIZE = {"width": 1180, "height": 760}
COLORS = 256
MOST_BYTES = 250_000
PATIENCE_MS = 30_000


def main() -> None:
    """Write `where.png` and `when.png`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="with Non-local blocks")
    parser.add_argument("--videos", type=Path, default=Path("datasets/toy/videos/test"), help="of the toy set")
    parser.add_argument("--place", type=float, nargs=3, default=(3, 0.8, 0.35), help="frame, x and y to click")
    parser.add_argument("--block", default="res3.1")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    expect.set_options(timeout=PATIENCE_MS)
    command = [sys.executable, "-m", "videoctx", "app", options.checkpoint, "--port=0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        sync_playwright() as engine,
        ExitStack() as stack,
    ):
        stack.callback(server.terminate)
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        browser = engine.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(url)
        classes = sorted(path.name for path in options.videos.iterdir())
        show_where(page, options.videos / classes[0] / "0001.mp4", options.block, options.place)
        show_when(page, joined([options.videos / name / "0002.mp4" for name in classes], Path(folder) / "eight.mp4"))
        browser.close()


def show_where(page: Page, video: Path, block: str, place: tuple[float, float, float]) -> None:
    """Click a place of a frame."""
    page.set_input_files("#file", video)
    page.locator(".bars").wait_for()
    page.click("#tab-where")
    page.locator(".strip").wait_for()
    page.locator("#panel-where .card label:visible select").first.select_option(block)
    expect(page.locator(".card-body [role=status]")).to_contain_text(f"at {block}")
    frame, x, y = place
    image = page.locator(".strip").first.locator(".frame img").nth(int(frame))
    box = image.bounding_box()
    assert box is not None
    image.click(position={"x": x * box["width"], "y": y * box["height"]})
    expect(page.locator(".card-body [role=status]")).to_have_text(re.compile(r"in frame \d+\. It looks"))
    shoot(page, FOLDER / "where.png")


def show_when(page: Page, video: Path) -> None:
    """Show the classes over time, of a dark page."""
    page.emulate_media(color_scheme="dark")
    page.click("#tab-when")
    page.set_input_files("#file", video)
    expect(page.locator("#player figcaption")).to_have_text(video.name)
    page.locator(".chart").wait_for()
    box = page.locator(".chart").bounding_box()
    assert box is not None
    page.locator(".chart").click(position={"x": 0.56 * box["width"], "y": 60})
    page.wait_for_timeout(1000)  # until the player shows the frame
    page.mouse.move(0, 0)
    shoot(page, FOLDER / "when.png")


def joined(videos: list[Path], path: Path) -> Path:
    """Write videos one after another, at their own frame rate."""
    frames, fps = [], 0.0
    for video in videos:
        with open_timed_frames(str(video)) as opened:
            fps = opened.fps
            frames += [image for image, _ in opened.frames]
    write_video(path, np.stack(frames), fps=fps)
    return path


def shoot(page: Page, path: Path) -> None:
    """Write what the window shows, with few colors."""
    with tempfile.TemporaryDirectory() as folder:
        page.screenshot(path=f"{folder}/page.png")
        image = Image.open(f"{folder}/page.png").convert("RGB")
    image = image.quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.FLOYDSTEINBERG)
    with atomic_write(path) as part:
        image.save(part, format="PNG", optimize=True)
        size = part.stat().st_size
        assert size <= MOST_BYTES, f"{path}: {size} bytes; expected at most {MOST_BYTES}"
    print(f"{path}: {size} bytes")


if __name__ == "__main__":
    main()
