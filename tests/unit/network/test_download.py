"""A file from a URL is whole and the declared one, or there is none."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nunet_node.network.download import DownloadError, download

DATA = b"weights" * 300_000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Site(BaseHTTPRequestHandler):
    """Has one file, and two ways to it."""

    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
        elif self.path == "/file":
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
        else:
            self.send_error(404)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/file", "/moved"])
async def test_what_is_declared_is_written(site, tmp_path, path):
    await download(site + path, SHA256, tmp_path / "it", bytes_max=1 << 30)
    assert (tmp_path / "it").read_bytes() == DATA


async def test_another_file_than_the_declared_one_is_refused(site, tmp_path):
    with pytest.raises(DownloadError, match="not the declared"):
        await download(site + "/file", "0" * 64, tmp_path / "it", bytes_max=1 << 30)


async def test_more_than_there_is_room_for_is_refused(site, tmp_path):
    with pytest.raises(DownloadError, match="more than 1000"):
        await download(site + "/file", SHA256, tmp_path / "it", bytes_max=1000)


async def test_what_is_not_there_is_named(site, tmp_path):
    with pytest.raises(DownloadError, match="404"):
        await download(site + "/other", SHA256, tmp_path / "it", bytes_max=1000)
    with pytest.raises(DownloadError, match="cannot fetch"):
        await download("http://127.0.0.1:1/x", SHA256, tmp_path / "no", bytes_max=1)


async def test_what_does_not_say_its_length_is_refused(site, tmp_path):
    with pytest.raises(DownloadError, match="how long"):
        await download(site + "/endless", SHA256, tmp_path / "it", bytes_max=1000)
