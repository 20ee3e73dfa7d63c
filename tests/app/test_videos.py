"""What uploads take of the disk, and when they are deleted."""

from pathlib import Path

import pytest

from tests.http_server import FileServer
from videoctx.app import videos
from videoctx.app.jobs import Cancelled
from videoctx.app.videos import Video, VideoError, VideoStore
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage import remote
from videoctx.inference.timed_frames import open_timed_frames


@pytest.fixture
def store():
    store = VideoStore(max_upload_bytes=100, max_disk_bytes=250)
    yield store
    store.close()
    assert not store.folder.exists()


def upload(store: VideoStore, num_bytes: int, page: str = "page") -> Video:
    with store.upload("a.mp4", page, num_bytes) as video:
        store.grow(video, num_bytes)
        Path(video.path).write_bytes(bytes(num_bytes))
    return video


def files(store: VideoStore) -> list[int]:
    return sorted(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())


def test_an_upload_that_is_too_large_is_refused_with_and_without_its_size(store):
    with pytest.raises(VideoError, match=r"the file has 0\.0 GB; expected at most"):
        upload(store, 101)
    with store.upload("a.mp4", "page", None) as video:
        store.grow(video, 60)
        with pytest.raises(VideoError, match="the file is too large") as caught:
            store.grow(video, 60)
    assert caught.value.status == 413


def test_an_upload_is_not_deleted_for_another_one(store):
    with store.upload("a.mp4", "page", 90) as first, store.upload("b.mp4", "other", None) as second:
        store.grow(first, 80)
        store.grow(second, 100)
        upload(store, 60)
        store.grow(first, 10)
        with pytest.raises(VideoError, match="the disk of the server has no room") as caught:
            upload(store, 70)
    assert caught.value.status == 507
    assert files(store) == [0, 0]


def test_the_oldest_upload_that_is_not_in_use_makes_room(store):
    first, second = upload(store, 100), upload(store, 90)
    with store.local_file(first.id) as path:
        upload(store, 80)
        assert Path(path).is_file()
        assert files(store) == [80, 100]
    with pytest.raises(VideoError, match="the video is not on the server any more"):
        store.find(second.id)


def test_an_archive_that_is_not_read_is_named(store):
    with (
        store.upload("a.Tar.gz", "page", 10) as video,
        pytest.raises(VideoDecodeError, match="an archive of another kind"),
        open_timed_frames(video.path, 10),
    ):
        pass


def test_no_room_is_an_error(store):
    one, other = upload(store, 100), upload(store, 100)
    with (
        store.local_file(one.id),
        store.local_file(other.id),
        pytest.raises(VideoError, match="the disk of the server has no room"),
    ):
        upload(store, 90)


def test_a_full_disk_is_an_error(store, monkeypatch):
    monkeypatch.setattr(videos, "SPARE_DISK_BYTES", 10**18)
    with pytest.raises(VideoError, match="the disk of the server has no room"):
        upload(store, 1)


def test_a_closed_page_leaves_nothing_but_what_is_in_use(store):
    kept, used = upload(store, 10, "other"), upload(store, 20)
    upload(store, 30)
    with store.local_file(used.id) as path:
        store.close_page("page")
        assert Path(path).is_file()
        assert files(store) == [10, 20]
    assert files(store) == [10]
    assert store.find(kept.id) is kept


def test_a_silent_page_counts_as_closed(store, monkeypatch):
    upload(store, 10)
    store.close_silent_pages()
    assert files(store) == [10]
    monkeypatch.setattr(videos, "SILENT_SECONDS", 0.0)
    store.close_silent_pages()
    assert files(store) == []


def test_a_download_is_deleted_with_its_video(store):
    with FileServer({"a.mp4": bytes(70), "b.mp4": bytes(101)}) as server:
        video = store.add_source(server.url("a.mp4"), "a.mp4", "page")
        for _ in range(2):
            with store.local_file(video.id) as path:
                assert Path(path).read_bytes() == bytes(70)
        assert server.requests == {"a.mp4": 1}
        assert store.add_source(server.url("a.mp4"), "a.mp4", "page") is video
        store.close_page("page")
        assert [size for size in files(store) if size == 70] == []
        large = store.add_source(server.url("b.mp4"), "b.mp4", "page")
        with pytest.raises(VideoDecodeError, match=r"^b\.mp4: .* more than 100 bytes"), store.local_file(large.id):
            pass


def test_a_download_that_is_cancelled_ends_between_its_parts(store, monkeypatch):
    monkeypatch.setattr(remote, "PIECE_BYTES", 20)
    num_parts = []

    def check() -> None:
        num_parts.append(1)
        if len(num_parts) == 3:
            raise Cancelled

    with FileServer({"a.mp4": bytes(70)}) as server:
        video = store.add_source(server.url("a.mp4"), "a.mp4", "page")
        with pytest.raises(Cancelled), store.local_file(video.id, check=check):
            pass
        assert (len(num_parts), video.path) == (3, None)
        with store.local_file(video.id) as path:
            assert Path(path).read_bytes() == bytes(70)


def test_examples_are_used_in_place_and_never_deleted(store, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"1")
    video = store.add_source(str(tmp_path / "a.mp4"), "a.mp4", "page")
    with store.local_file(video.id) as path:
        assert path == str(tmp_path / "a.mp4")
    store.close_page("page")
    assert (tmp_path / "a.mp4").is_file()
