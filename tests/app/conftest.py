"""A server with small networks, in a thread of the tests."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.synthetic_scores import write_run
from tests.numbered import write_video
from tests.once_per_session import once_per_session
from tests.tiny_set import CLASSES, make_set
from tests.visualize.test_attention_tool import write_checkpoint

PAGE = {"X-Videoctx-Page": "page-of-a-test"}


@dataclass
class Served:
    """A running server, and requests to it."""

    url: str
    work: Any
    folder: Path

    def ask(self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Any:
        """Return the JSON of a response. `body`: JSON, or the bytes of an upload."""
        is_json = body is not None and not isinstance(body, bytes)
        data = json.dumps(body).encode() if is_json else body
        sent = PAGE | ({"Content-Type": "application/json"} if is_json else {}) | (headers or {})
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def refused(self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> str:
        """Return status and error of a request that fails."""
        with pytest.raises(HTTPError) as caught:
            self.ask(method, path, body, headers=headers)
        return f"{caught.value.code} {json.loads(caught.value.read())['error']}"

    def upload(self, path: Path, name: str | None = None) -> str:
        return self.ask("POST", f"/videos?name={name or path.name}", path.read_bytes())["id"]

    def run(self, **body: Any) -> dict[str, Any]:
        """Return the last status of a job."""
        job, status = self.ask("POST", "/jobs", body)["id"], {"version": ""}
        while status.get("state") not in ("done", "failed", "cancelled"):
            status = self.ask("GET", f"/jobs/{job}?known={status['version']}")
        return status


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory) -> Path:
    """Checkpoints with random weights, videos with a manifest, and a tested run."""

    def fill(folder: Path) -> None:
        make_set(folder, num_videos={"train": 1, "test": 4})
        write_checkpoint(folder / "nl.ckpt")
        write_checkpoint(folder / "gc.ckpt", "GlobalContext", ratio=0.5)
        write_checkpoint(folder / "plain.ckpt", None)
        write_video(folder / "long.mp4", num_frames=240, width=96, height=80, fps=20)
        (folder / "images" / "test5").mkdir(parents=True)
        for index in range(24):
            Image.new("RGB", (96, 80), (10 * index, 0, 0)).save(folder / "images" / "test5" / f"{index:05d}.jpg")
        (folder / "images.csv").write_text(f"path,label,split,fps\nimages/test5,{CLASSES[0]},test,8\n")
        probabilities = np.array(
            [[0.6, 0.3, 0.1], [0.9, 0.05, 0.05], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1], [1, 1, 1], [0.8, 0.1, 0.1]]
        )
        run = write_run(
            folder / "run",
            np.log(probabilities)[:, None, None],
            np.array([0, 1, 2, 0, 1, 0]),
            class_names=CLASSES,
            paths=[*(f"test{index}.mp4" for index in range(4)), "gone.mp4", "images/test5"],
            failed=(4,),
        )
        (run / "card.json").write_text(json.dumps({"folder": str(folder), "data": {"manifest": "images.csv"}}))

    return once_per_session(tmp_path_factory, "app", fill)


@pytest.fixture(scope="session")
def served(app_folder) -> Iterator[Served]:
    uvicorn = pytest.importorskip("uvicorn")
    from videoctx.app.examples import read_examples
    from videoctx.app.networks import load_networks
    from videoctx.app.server import make_server
    from videoctx.app.serving import listening_socket
    from videoctx.app.tested_run import TestedRun
    from videoctx.app.workplace import Workplace

    checkpoints = [str(app_folder / f"{name}.ckpt") for name in ("nl", "gc", "plain")]
    examples, run = read_examples(app_folder / "manifest.csv"), TestedRun(app_folder / "run")
    work = Workplace(load_networks(checkpoints), examples=examples, run=run)
    with listening_socket("127.0.0.1", 0) as opened:
        server = uvicorn.Server(uvicorn.Config(make_server(work, host="127.0.0.1"), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Served(f"http://127.0.0.1:{opened.getsockname()[1]}", work, app_folder)
        server.should_exit = True
        thread.join()
    work.close()
    assert not work.store.folder.exists()
