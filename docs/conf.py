"""Settings of the documentation build."""

from __future__ import annotations

from shrinkwise import __version__

project = "Shrinkwise"
author = "The Shrinkwise developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Shrinkwise"
html_static_path: list[str] = []
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
suppress_warnings = ["myst.header"]
