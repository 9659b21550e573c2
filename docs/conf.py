import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import inventories

import blockmat

project = "blockmat"
author = "the blockmat developers"
release = version = blockmat.__version__
copyright = "2026, " + author

extensions = [
    "myst_nb",  # Markdown pages with MyST, and the notebook
    "notebooks",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx-mathjax-offline",  # the site must be readable without a network
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "**/GALLERY_HEADER.rst",
    "**sg_execution_times.rst",
    "howto/*.ipynb",  # downloads, made from the programs of the pages
    "gallery/*.ipynb",
]
myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds for one cell
nb_merge_streams = True
nb_output_stderr = "error"  # a warning on the page is an error of the build

nitpicky = True
default_role = "autolink"  # single backquotes link to what can be imported
intersphinx_mapping = inventories.mapping(Path(__file__).parent / "_build" / "inventories")
intersphinx_timeout = 5

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
templates_path = ["_templates"]
numpydoc_show_class_members = False
# Checked for every documented object, and an error under -W. Left out: extended
# summaries and cross-references that would only repeat the summary, examples of
# properties, and "Returns" of properties, whose summary says what they are.
numpydoc_validation_checks = {"all", "ES01", "SA01", "EX01", "RT01", "SA03", "GL01", "SS06"}
numpydoc_validation_exclude = {
    r"\._",
    r"blockmat\.exceptions\.",
    r"\.set_\w+_request$",  # methods that scikit-learn makes
    r"\.(BlockEigh|FactorFit|FitResult|PartitionPath|PartitionStability|PartitionTree|Coclusters|ConfidenceIntervals|LikelihoodRatioResult)\.",  # fields, which the class docstring describes
}

sphinx_gallery_conf = {
    "examples_dirs": ["../examples/howto", "../examples/gallery"],
    "gallery_dirs": ["howto", "gallery"],
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "backreferences_dir": "generated/backreferences",
    "capture_repr": ("_repr_html_", "__repr__"),
    "doc_module": ("blockmat",),
    "download_all_examples": False,
    "image_srcset": ["2x"],
    "inspect_global_variables": False,
    "min_reported_time": 1e9,
    "reference_url": {"blockmat": None},
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "pydata_sphinx_theme"
html_title = "blockmat"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_theme_options = {
    "logo": {
        "image_light": "_static/wordmark-light.svg",
        "image_dark": "_static/wordmark-dark.svg",
        "alt_text": "blockmat",
    },
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_toc_level": 2,
}
WIDE = (
    "accuracy",
    "discovery",
    "experiments",
    "operations",
    "performance",
    "scaling",
)  # for their tables
html_sidebars = {name: [] for name in ("index", "tour", "theory", "api", *WIDE)}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app):
    """Drop the empty line that ends each example: doctest needs it, readers do not."""
    app.connect(
        "source-read",
        lambda app, name, source: source.append(source.pop().replace("\n\n```\n", "\n```\n")),
    )
