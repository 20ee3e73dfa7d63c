"""Downloads that are kept to the public internet and to a size."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.http_server import FileServer
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.storage import public_addresses
from videoctx.data.storage.local_files import LocalFiles

PRIVATE = (
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "::1", "::"),
    *("fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:192.168.0.1"),
    *("2002:7f00:1::", "64:ff9b::7f00:1"),
)
PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


def test_addresses_are_public_or_not():
    assert [address for address in PRIVATE if public_addresses.is_public(address)] == []
    assert [address for address in PUBLIC if not public_addresses.is_public(address)] == []


def test_this_computer_is_refused_by_address_and_by_name(tmp_path):
    with FileServer({"a.mp4": b"1"}) as server:
        for url in (server.url("a.mp4"), server.url("a.mp4").replace("127.0.0.1", "localhost")):
            with pytest.raises(VideoDecodeError, match=r"is not an address of the public internet$"):
                LocalFiles(tmp_path, public_only=True).size(url)
        assert server.requests == {}
        assert LocalFiles(tmp_path).size(server.url("a.mp4")) == 1


def test_a_redirect_to_a_private_address_is_refused(tmp_path, monkeypatch):
    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(public_addresses, "is_public", lambda address: address == "127.0.0.2")
    with FileServer({"a.mp4": b"1"}) as server, ThreadingHTTPServer(("127.0.0.2", 0), Redirect) as redirecting:
        target = server.url("a.mp4")
        thread = Thread(target=redirecting.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.2:{redirecting.server_address[1]}/b.mp4"
        assert LocalFiles(tmp_path).size(url) == 1
        with pytest.raises(VideoDecodeError, match=r"127\.0\.0\.1 is not an address of the public internet$"):
            LocalFiles(tmp_path, public_only=True).size(url)
        redirecting.shutdown()
        thread.join()


def test_a_file_that_is_too_large_is_refused_also_without_its_size(tmp_path):
    for knows in (True, False):
        with FileServer({"a.mp4": bytes(100_000)}, knows_size=knows, knows_parts=knows) as server:
            with LocalFiles(tmp_path, max_file_bytes=100_000).local_copy(server.url("a.mp4")):
                pass
            with (
                pytest.raises(VideoDecodeError, match=r"a\.mp4: cannot be fetched: it has more than 99,999 bytes$"),
                LocalFiles(tmp_path / "other", max_file_bytes=99_999).local_copy(server.url("a.mp4")),
            ):
                pass
