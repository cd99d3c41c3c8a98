"""How the site is built from the Markdown pages of this folder: `make docs`.

Belongs here: Sphinx's settings. Does not belong here: what is made of the code (`_ext/reference.py`).
"""

import re
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

project = "galaxy-assets"
author = "the galaxy-assets authors"
project_copyright = "the galaxy-assets authors, BSD-3-Clause"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "reference",
    "drawing",
    "notebooks",
]
exclude_patterns = ["_ext", "_static"]
# single backticks in docstrings are code
default_role = "literal"
# text is shown as it is written
smartquotes = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# a graph is drawn here, as a forge draws it
myst_fence_as_directive = ["mermaid"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_title = "galaxy-assets"
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "galaxy-assets"},
    "navbar_align": "left",
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    # deeper levels have buttons without a name
    "navigation_depth": 1,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def link_outside(app: Sphinx, name: str, source: list[str]) -> None:
    """Lead links to files beside this folder somewhere: to the page that includes one, else to the file as it is."""
    up = "../" * name.count("/")
    source[0] = re.sub(rf"\]\({up}\.\./SECURITY\.md(#[^)]*)?\)", rf"]({up}how-to/security.md\1)", source[0])
    source[0] = re.sub(rf"\]\(({up}\.\./[^)#]+\.md)\)", r"](path:\1)", source[0])


def setup(app: Sphinx) -> None:
    """Sphinx's entry."""
    app.connect("source-read", link_outside)
    app.add_lexer("csv", TextLexer)
