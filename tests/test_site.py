"""The site: built without a fault and without a network, it needs nothing from elsewhere, and no link of it is dead."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.generate import DOCS

BUILD_OFFLINE = """
import socket, sys
def refuse(*arguments, **options):
    raise OSError("the site is built without a network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
UNLOADED_LINKS = {"search", "genindex", "next", "prev", "canonical", "author"}  # <link rel=...> that only name a page


def build(pages: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """`make site`, with warnings as errors."""
    options = ["-W", "--keep-going", "-q", "-c", str(DOCS), str(pages), str(folder)]
    command = [sys.executable, "-c", BUILD_OFFLINE, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Page(HTMLParser):
    """What a page loads, what it links to, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if name := given.get("id"):
            self.anchors.add(name)
        if tag == "a" and (link := given.get("href")):
            self.links.append(link)
        if tag in LOADED and (source := given.get(LOADED[tag])) and given.get("rel") not in UNLOADED_LINKS:
            self.loads.append(source)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(DOCS, folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_page_is_on_the_site(pages: dict[Path, Page], site: Path) -> None:
    navigated = {link.partition("#")[0] for link in pages[site / "index.html"].links}
    written = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")}
    assert written - {"index.html"} <= navigated


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    loaded = {source for page in pages.values() for source in page.loads}
    assert loaded
    assert not [source for source in loaded if urlsplit(source).netloc]
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_every_link_within_the_site_leads_somewhere(pages: dict[Path, Page]) -> None:
    followed = 0
    for path, page in pages.items():
        for link in (*page.links, *page.loads):
            target = urlsplit(link)
            if target.scheme or target.netloc:
                continue
            file = (path.parent / unquote(target.path)).resolve() if target.path else path
            assert file.exists(), f"{path.name} links to {link}"
            if target.fragment and file in pages and path.name not in ("search.html", "genindex.html"):
                assert unquote(target.fragment) in pages[file].anchors, f"{path.name} links to {link}"
                followed += 1
    assert followed > 100


def test_dead_links_and_lost_pages_are_errors(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    links = ("[x](nowhere.md)", "[x](#nothing)", "![x](none.svg)")
    (tmp_path / "pages" / "index.md").write_text("# Title\n\n" + "\n\n".join(links))
    (tmp_path / "pages" / "lost.md").write_text("# Lost\n")
    built = build(tmp_path / "pages", tmp_path / "site")
    assert built.returncode != 0
    for said in ("nowhere.md", "nothing", "none.svg", "lost.md: WARNING: document isn't included in any toctree"):
        assert said in built.stderr
