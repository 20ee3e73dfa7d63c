"""Requests: the same figures as the command line's, bad input, and what other sites may not do."""

import base64
import csv
import gc
import json
import threading
import time
import zipfile
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection
from io import BytesIO
from urllib.request import Request, urlopen

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_set import CLASSES
from videoctx.app import maps, timelines
from videoctx.app.tested_run import TestedRun
from videoctx.cli import main
from videoctx.inference.classifier import load
from videoctx.inference.explanation import explain_by_attention, explain_by_grad_cam
from videoctx.inference.timeline import Moment
from videoctx.visualize.clip_on_video import Query, read_clip

pytest.importorskip("starlette")

NL, GC, PLAIN = range(3)


@pytest.fixture
def video(served):
    return served.upload(served.folder / "test0.mp4")


def test_the_probabilities_are_those_of_classify(served, video, tmp_path):
    for network, name in ((NL, "nl"), (PLAIN, "plain")):
        status = served.run(kind="predict", video=video, network=network)
        main(
            [
                *("classify", str(served.folder / "test0.mp4"), "--ckpt_path", str(served.folder / f"{name}.ckpt")),
                *("--json", str(tmp_path / "found.json")),
            ]
        )
        expected = json.loads((tmp_path / "found.json").read_text())
        assert status["result"]["classes"] == expected["videos"][0]["classes"]
        assert (status["result"]["views"], status["result"]["num_views"]) == ("2x3", 6)


def test_the_moments_are_those_of_the_timeline(served, tmp_path):
    video = served.upload(served.folder / "long.mp4")
    found = served.run(kind="timeline", video=video, network=NL, stride_seconds=0.5)["result"]
    main(
        [
            *("classify", str(served.folder / "long.mp4"), "--ckpt_path", str(served.folder / "nl.ckpt")),
            *("--timeline", str(tmp_path), "--stride", "0.5", "--top", "3", "--json", str(tmp_path / "found.json")),
        ]
    )
    with (tmp_path / "long-timeline.csv").open() as file:
        rows = list(csv.DictReader(file))
    clips = json.loads((tmp_path / "found.json").read_text())["clips"]
    assert len(clips) == len(rows) == found["num_moments"]
    assert found["starts"] == [clip["start_seconds"] for clip in clips] == [float(row["start_seconds"]) for row in rows]
    assert found["ends"] == [clip["end_seconds"] for clip in clips] == [float(row["end_seconds"]) for row in rows]
    for index, (clip, row) in enumerate(zip(clips, rows, strict=True)):
        of_clip = {one["class"]: one["probability"] for one in clip["classes"]}
        assert {one["class"]: one["probabilities"][index] for one in found["classes"]} == of_clip
        of_row = {row[f"class_{rank}"]: row[f"probability_{rank}"] for rank in (1, 2, 3)}
        assert {name: f"{probability:.4f}" for name, probability in of_clip.items()} == of_row
    assert 12 <= len(found["thumbnails"]) <= 24
    assert (found["start"], found["end"]) == (0, pytest.approx(12))


def test_of_many_moments_every_second_or_fourth_is_kept():
    moments = timelines._Moments(4)
    for index in range(9):
        moments.add(Moment(index, index + 0.5, np.array([index, -index], np.float32)))
    assert moments.num_added == 9
    assert moments.starts.tolist() == [0, 4, 8]
    assert moments.ends.tolist() == [0.5, 4.5, 8.5]
    assert moments.probabilities.tolist() == [[0, 0], [4, -4], [8, -8]]


def test_the_map_of_a_place_is_that_of_the_command_line(served, video):
    path, trained = str(served.folder / "test0.mp4"), load(str(served.folder / "nl.ckpt"))
    clip = read_clip(path, trained.preprocessing)
    query = Query(x=40, y=30, frame=int(clip.indices[2]))
    expected = explain_by_attention(trained, clip, block="res3.1", query=query)
    body = {"kind": "map", "video": video, "network": NL, "method": "attention", "block": "res3.1"}
    place = {"frame": 2, "x": 40.5 / 96, "y": 30.5 / 80}
    found = served.run(**body, **place)["result"]
    assert found["high"] == expected.overlay.limits[1]
    assert found["sentence"].startswith(
        f"NonLocal at res3.1, seen from x 40, y 30 in frame {query.frame}. It looks most"
    )
    assert [frame["number"] for frame in found["frames"]] == clip.indices.tolist()
    weights = served.run(**body, **place, relative=False)["result"]
    assert weights["unit"] == "weight"
    assert weights["high"] < found["high"]
    around = served.run(**body, seconds=0.2)["result"]
    assert around["frames"][0]["number"] == 0


def test_the_figures_of_a_map_are_those_of_the_whole_frames(served, monkeypatch):
    """However small the page shows the frames."""
    path = str(served.folder / "test1.mp4")
    monkeypatch.setattr(maps, "FRAME_PX", 24)
    video = served.upload(served.folder / "test1.mp4")
    for network, name, block in ((NL, "nl", "res3.1"), (GC, "gc", None)):
        trained = load(str(served.folder / f"{name}.ckpt"))
        clip = read_clip(path, trained.preprocessing)
        expected = explain_by_attention(trained, clip, block=block)
        body = {"kind": "map", "video": video, "network": network}
        found = served.run(**body, method="attention", **({"block": block} if block else {}))["result"]
        assert (found["low"], found["high"]) == expected.overlay.limits
        frame, y, x = np.unravel_index(np.nanargmax(expected.overlay.values), expected.overlay.values.shape)
        assert f"at x {x}, y {y} in frame {clip.indices[frame]}" in found["sentence"]
        image = Image.open(BytesIO(base64.b64decode(found["frames"][0]["image"].partition(",")[2])))
        assert image.size == (29, 24)
        expected = explain_by_grad_cam(trained, clip, layer="res3")
        found = served.run(**body, method="gradcam", layer="res3")["result"]
        assert (found["low"], found["high"], found["sentence"]) == (*expected.overlay.limits, expected.title)


def test_images_in_a_zip_file_need_a_frame_rate(served, tmp_path):
    with zipfile.ZipFile(tmp_path / "frames.zip", "w") as archive:
        for index in range(24):
            content = BytesIO()
            Image.new("RGB", (96, 80), (10 * index, 0, 0)).save(content, "JPEG")
            archive.writestr(f"frames/{index:05d}.jpg", content.getvalue())
    video = served.upload(tmp_path / "frames.zip")
    body = {"video": video, "network": NL, "method": "attention"}
    for kind in ("predict", "timeline", "map"):
        assert served.run(kind=kind, **body)["error"].startswith("frames.zip: images state no frame rate; expected it")
        found = served.run(kind=kind, **body, fps=8)
        assert found["state"] == "done", found
        if kind == "timeline":
            assert found["result"]["end"] == 3
    for frame in found["result"]["frames"]:
        assert frame["seconds"] == frame["number"] / 8
    assert (
        served.refused("POST", "/jobs", {"kind": "predict", **body, "fps": 0}) == "400 fps is 0; expected 0.1 to 1000"
    )
    with urlopen(f"{served.url}/videos/{video}/frame?seconds=1&fps=8") as response:
        assert response.headers["X-Duration-Seconds"] == "3.000"
        assert Image.open(response).getpixel((5, 5))[0] == pytest.approx(80, abs=4)


def test_a_block_with_one_map_and_one_that_weighs_all_alike(served, video):
    found = served.run(kind="map", video=video, network=GC, method="attention")["result"]
    assert found["query"] is None
    assert found["sentence"].startswith("GlobalContext at res4.0 has the same map for every place. It looks most at x ")
    block = served.work.networks[GC].trained.net.get_submodule("res4.0.after_add.context.key")
    before = block.weight.detach().clone()
    with torch.no_grad():
        block.weight.zero_()
    served.work.maps._traces.clear()
    found = served.run(kind="map", video=video, network=GC, method="attention")["result"]
    with torch.no_grad():
        block.weight.copy_(before)
    served.work.maps._traces.clear()
    assert found["uniform"]
    assert found["sentence"].endswith("for every place: this block weighs all places alike.")


def test_grad_cam_of_a_network_without_blocks(served, video):
    described = served.ask("GET", "/state")["networks"][PLAIN]
    assert described["blocks"] == []
    assert "res5" in described["parts"]
    body = {"kind": "map", "video": video, "network": PLAIN}
    for layer in (described["parts"][0], described["layers"][-1]):
        found = served.run(**body, method="gradcam", layer=layer, target_class=CLASSES[1])
        assert found["result"]["sentence"].startswith(f"Grad-CAM of '{CLASSES[1]}'"), layer
    assert "no block with an attention map" in served.run(**body, method="attention")["error"]


def test_bad_input_is_one_sentence(served, video, broken_files):
    for name, expected in {
        "text": "clip.mp4: a text file; expected a video",
        "empty": "clip.mp4: the file is empty",
        "truncated": "clip.mp4: not a whole video: the file has no index",
        "audio only": "clip.mp4: no video stream in the file",
    }.items():
        broken = served.upload(broken_files[name], "clip.mp4")
        for job in ({"kind": "predict"}, {"kind": "timeline"}, {"kind": "map", "method": "attention"}):
            status = served.run(video=broken, network=NL, **job)
            assert status["state"] == "failed"
            assert status["error"].startswith(expected), (name, job)
            assert str(served.work.store.folder) not in status["error"]
    for body, expected in [
        ({"method": "attention", "frame": 0, "x": 0.01, "y": 0.5}, "the network does not see this place; expected one"),
        ({"method": "attention", "frame": 99, "x": 0.5, "y": 0.5}, "frame is 99; expected 0 to 3"),
        ({"method": "attention", "block": "res9.9"}, "no block 'res9.9' with an attention map; expected one of res3.1"),
        ({"method": "gradcam", "layer": "head"}, "layer head gives"),
        ({"method": "magic"}, "method is 'magic'; expected attention or gradcam"),
    ]:
        assert served.run(kind="map", video=video, network=NL, **body)["error"].startswith(expected), body
    for body, expected in [
        ({"kind": "predict", "video": "x", "network": 0}, "404 the video is not on the server any more"),
        ({"kind": "predict", "video": video, "network": 7}, "400 network is 7; expected 0 to 2"),
        ({"kind": "predict", "video": video, "network": float("nan")}, "400 network is nan; expected a number"),
        ({"kind": "sing", "video": video, "network": 0}, "400 kind is 'sing'; expected fetch, predict"),
        ({"kind": "timeline", "video": video, "network": 0, "stride_seconds": 0}, "400 stride_seconds is 0; expected"),
        ({"kind": "predict", "video": video, "network": 10**400}, "400 network is 10000000000000000000"),
        ({"kind": "predict", "video": video, "network": 0.5}, "400 network is 0.5; expected a whole number"),
        ({"kind": "predict", "video": "x" * 5000, "network": 0}, "400 video has 5000 letters; expected at most 4000"),
        ([1], "400 expected a JSON object"),
    ]:
        assert served.refused("POST", "/jobs", body).startswith(expected), body


def test_urls_lead_to_the_public_web_alone(served):
    for url in ("file:///etc/passwd", "/etc/passwd", "ftp://host/a", "http://", "s3://bucket/a", "tar://a::http://b"):
        assert "is no address of a video on the web" in served.refused("POST", "/videos", {"url": url}), url
    for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254"):
        video = served.ask("POST", "/videos", {"url": f"http://{host}:1/a.mp4"})
        assert not video["fetched"]
        refused = served.refused("POST", "/jobs", {"kind": "predict", "video": video["id"], "network": NL})
        assert refused == "400 the video has not been fetched; expected a request of kind fetch before"
        status = served.run(kind="fetch", video=video["id"])
        assert status["error"].endswith("is not an address of the public internet"), host


def test_other_sites_and_names_are_refused(served):
    headers = {"X-Videoctx-Page": ""}
    for method, path in (("POST", "/videos"), ("POST", "/jobs"), ("DELETE", "/page"), ("DELETE", "/jobs/x")):
        refused = served.refused(method, path, b"", headers=headers)
        assert refused == "403 expected the header x-videoctx-page, which the page sends"
    assert served.refused("GET", "/state", headers={"Host": "example.com"}).startswith("403 example.com is not this")
    for origin in ("http://example.com", "null", "https://127.0.0.1", "http://["):
        refused = served.refused("GET", "/state", headers={"Origin": origin})
        assert refused == "403 the request comes from the page of another site", origin
    assert served.ask("GET", "/state", headers={"Origin": served.url})["networks"]
    for name in ("localhost:1", "[::1]:1", "192.168.1.7"):
        assert served.ask("GET", "/state", headers={"Host": name})["networks"]
    with urlopen(served.url) as response:
        policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    for path in ("/page/../server.py", "/page/%2e%2e%2fserver.py", "/page/index.html", "/videos/x", "/../etc/passwd"):
        connection = HTTPConnection(served.url.removeprefix("http://"))
        connection.request("GET", path)
        assert connection.getresponse().status == 404, path
        connection.close()


def test_a_part_of_a_video_is_served(served, video):
    content = (served.folder / "test0.mp4").read_bytes()
    with urlopen(Request(f"{served.url}/videos/{video}", headers={"Range": "bytes=10-19"})) as response:
        assert (response.status, response.read(), response.headers["Content-Type"]) == (
            206,
            content[10:20],
            "video/mp4",
        )
    with urlopen(f"{served.url}/videos/{video}/frame?seconds=99") as response:
        assert response.headers["X-Duration-Seconds"] == "2.000"
        assert response.read(2) == b"\xff\xd8"


def test_a_time_that_is_none_is_refused(served, video):
    for seconds, expected in {
        "nan": "400 seconds is nan; expected a number",
        "inf": "400 seconds is inf; expected 0 to 1e+07",
        "-1": "400 seconds is -1.0; expected 0 to 1e+07",
        "abc": "400 seconds is 'abc'; expected a number",
    }.items():
        assert served.refused("GET", f"/videos/{video}/frame?seconds={seconds}") == expected


def test_two_uploads_at_once(served):
    names, found = ["test0.mp4", "test1.mp4"] * 2, {}

    def use(index: int) -> None:
        video = served.upload(served.folder / names[index])
        found[index] = served.run(kind="predict", video=video, network=NL)["result"]["classes"]

    threads = [threading.Thread(target=use, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[2] != found[1] == found[3]


def test_an_interrupted_upload_and_a_closed_page_leave_nothing(served):
    page = {"X-Videoctx-Page": "closed-page", "Content-Length": "1000000"}
    connection = HTTPConnection(served.url.removeprefix("http://"))
    connection.putrequest("POST", "/videos?name=half.mp4")
    for name, value in page.items():
        connection.putheader(name, value)
    connection.endheaders(bytes(500_000))

    def halves() -> list:
        found = []
        for file in served.work.store.folder.glob("*.mp4"):
            with suppress(FileNotFoundError):  # the server deletes it while the test looks
                found += [file] if file.stat().st_size == 500_000 else []
        return found

    ends = time.monotonic() + 60
    while not halves():
        assert time.monotonic() < ends
        time.sleep(0.01)
    connection.close()
    while halves():
        assert time.monotonic() < ends
        time.sleep(0.01)
    video = served.ask("POST", "/videos?name=a.mp4", b"1", headers={"X-Videoctx-Page": "closed-page"})["id"]
    served.ask("DELETE", "/page", headers={"X-Videoctx-Page": "closed-page"})
    assert not list(served.work.store.folder.glob(f"{video}*"))
    refused = served.refused("POST", "/videos?name=a.mp4", b"1", headers={"Content-Length": "5000000000"})
    assert refused == "413 the file has 5.0 GB; expected at most 4 GB"


def test_a_closed_page_ends_its_jobs(served):
    page, release = {"X-Videoctx-Page": "page-that-closes"}, threading.Event()
    blocking = served.work.network_jobs.add(lambda _: release.wait(60))
    try:
        video = served.ask("POST", "/videos", {"example": 0}, headers=page)["id"]
        job = served.ask("POST", "/jobs", {"kind": "predict", "video": video, "network": NL}, headers=page)["id"]
        served.ask("DELETE", "/page", headers=page)
        assert served.work.network_jobs.find(job).state == "cancelled"
        assert not blocking.is_over
    finally:
        release.set()


def test_a_slow_job_is_cancelled(served):
    video = served.upload(served.folder / "long.mp4")
    trained = served.work.networks[NL].trained
    entered, release = threading.Event(), threading.Event()

    def slow(*_) -> None:
        entered.set()
        release.wait(60)

    hook = trained.for_evaluation().net.register_forward_pre_hook(slow)
    try:
        job = served.ask("POST", "/jobs", {"kind": "timeline", "video": video, "network": NL, "stride_seconds": 0.1})
        assert entered.wait(60)
        served.ask("DELETE", f"/jobs/{job['id']}")
    finally:
        hook.remove()
        release.set()
    status = {"version": ""}
    while status.get("state") != "cancelled":
        status = served.ask("GET", f"/jobs/{job['id']}?known={status['version']}")
        assert status["state"] != "done"


def test_the_head_of_a_finished_job_leaves_its_result(served, video):
    job = served.ask("POST", "/jobs", {"kind": "predict", "video": video, "network": NL})["id"]
    finished = served.work.find_job(job)[0]
    head = Request(f"{served.url}/jobs/{job}", method="HEAD")
    while not finished.is_over:
        urlopen(head).close()
    urlopen(head).close()
    status = served.ask("GET", f"/jobs/{job}")
    assert (status["state"], bool(status["result"])) == ("done", True)
    assert served.refused("GET", f"/jobs/{job}").startswith("404 ")


def test_many_requests_leave_nothing_behind(served):
    """Counts objects, without the garbage collector: memory freed by it alone would grow in between."""
    page = {"X-Videoctx-Page": "page-of-many-requests"}
    jobs = [
        {"kind": "predict"},
        {"kind": "timeline"},
        {"kind": "map", "method": "attention"},
        {"kind": "map", "method": "gradcam", "layer": "res4"},
    ]

    def use(times: int) -> None:
        for _ in range(times):
            for job in jobs:
                for name in ("test0.mp4", "test1.mp4"):
                    content = (served.folder / name).read_bytes()
                    video = served.ask("POST", f"/videos?name={name}", content, headers=page)["id"]
                    assert served.run(**job, video=video, network=NL)["state"] == "done"
        served.ask("DELETE", "/page", headers=page)

    def counts() -> dict[str, int]:
        work = served.work
        for kept in (work.maps._clips, work.maps._traces):
            assert len(kept) <= work.maps.num_kept
            kept.clear()
        kinds = Counter(type(one) for one in gc.get_objects())
        threads = [thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")]
        return {
            "frames": kinds[av.VideoFrame],
            "tensors": kinds[torch.Tensor],
            "jobs": len(work.network_jobs._jobs),
            "threads": len(threads),
            "files": len(list(work.store.folder.rglob("*.mp4"))),
            "pages": len(work.store._pages),
        }

    use(1)
    gc.collect()
    before = counts()
    gc.disable()
    try:
        use(2)
        assert counts() == before
    finally:
        gc.enable()


def test_the_errors_of_a_run_come_first(served):
    found = served.ask("GET", "/results")["videos"]
    assert [(one["name"], one["incorrect"]) for one in found] == [
        ("test1.mp4", True),
        ("test3.mp4", True),
        ("gone.mp4", False),
        ("test0.mp4", False),
        ("test2.mp4", False),
        ("images/test5", False),
    ]
    assert (found[0]["labels"], found[0]["prediction"]) == ([CLASSES[1]], CLASSES[0])
    assert found[0]["confidence"] == pytest.approx(0.9, abs=0.001)
    assert found[2]["failure"] == "the file is empty"
    of_class = served.ask("GET", f"/results?class={CLASSES[0]}&start=1")
    assert ([one["name"] for one in of_class["videos"]], of_class["num_videos"]) == (["test0.mp4", "images/test5"], 3)
    video = served.ask("POST", "/videos", {"run": found[0]["index"]})
    assert video["name"] == "test1.mp4"
    assert served.run(kind="predict", video=video["id"], network=0)["state"] == "done"
    images = served.ask("POST", "/videos", {"run": found[-1]["index"]})
    assert (images["of_images"], images["fps"]) == (True, 8)
    assert served.run(kind="predict", video=images["id"], network=0)["state"] == "done"
    assert served.refused("POST", "/videos", {"run": 6}).startswith("400 run is 6; expected the number of a tested")
    assert served.refused("GET", "/results?class=x") == "400 class is 'x'; expected a class of the run"


def test_a_run_with_a_card_of_other_types_is_shown(served, tmp_path):
    for name in ("scores.parquet", "card.json"):
        (tmp_path / name).write_bytes((served.folder / "run" / name).read_bytes())
    (tmp_path / "card.json").write_text(json.dumps({"folder": 5, "data": [1]}))
    run = TestedRun(tmp_path)
    assert run.path(5).endswith("5/images/test5")
    assert run.image_rate(5) is None


def test_examples_are_those_of_the_test_split(served):
    state = served.ask("GET", "/state")
    assert [one["name"] for one in state["examples"]] == [f"test{index}.mp4" for index in range(4)]
    video = served.ask("POST", "/videos", {"example": 1})
    assert video["fetched"]
    found = served.run(kind="predict", video=video["id"], network=0)["result"]["classes"]
    trained = load(str(served.folder / "nl.ckpt"))
    assert found[0]["probability"] == trained.predict(str(served.folder / "test1.mp4"))[0][1]
    assert np.isfinite(found[0]["probability"])
