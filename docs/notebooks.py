"""A Sphinx extension: the page of a notebook offers the executed notebook for download.

A role in the notebook itself would do the same, but Jupyter shows roles as plain text.
"""

import os
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference


def offer_download(app, doctree):
    """Add a link to the notebook with its outputs below the title of its page."""
    if app.env.doc2path(app.env.docname).suffix != ".ipynb":
        return
    executed = Path(app.env.mystnb_config.output_folder) / f"{app.env.docname}.ipynb"
    target = "/" + Path(os.path.relpath(executed, app.srcdir)).as_posix()
    link = download_reference("", "this page as a notebook", reftarget=target)
    title = next(doctree.findall(nodes.title))
    title.parent.insert(1, nodes.paragraph("", "", nodes.Text("Download "), link, nodes.Text(".")))


def setup(app):
    """Change pages before Sphinx collects their downloads, which it does at priority 500."""
    app.connect("doctree-read", offer_download, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
