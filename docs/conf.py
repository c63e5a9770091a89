"""The site that Sphinx makes of these pages (`make site`). Nothing on it is loaded from elsewhere."""

from __future__ import annotations

from bfpc import __version__

project = "bfpc"
version = release = __version__

extensions = ["myst_parser"]
myst_heading_anchors = 3  # links to headings are written as on the forge
exclude_patterns = ["__pycache__"]
highlight_language = "none"  # an indented block is a command, or what it prints

html_theme = "furo"
html_title = f"bfpc {__version__}"
html_copy_source = False
html_show_copyright = False
html_show_search_summary = False  # a browser does not read pages from a disk for one
