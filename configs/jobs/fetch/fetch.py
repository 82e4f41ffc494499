"""Fetch a page and keep it."""

from pathlib import Path
from urllib.request import urlopen

with urlopen("http://example.org/", timeout=30) as page:
    Path("page.html").write_bytes(page.read())
