import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import blockmat

project = "blockmat"
author = "the blockmat developers"
release = version = blockmat.__version__
copyright = "2026, " + author

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",  # the site must be readable without a network
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

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
    r"\.(BlockEigh|FitResult|PartitionPath|Coclusters|ConfidenceIntervals|LikelihoodRatioResult)\.",  # fields, which the class docstring describes
}

html_theme = "pydata_sphinx_theme"
html_title = "blockmat"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
html_sidebars = {
    name: []
    for name in (
        "guide",
        "stocks",
        "discovery",
        "scaling",
        "theory",
        "command-line",
        "performance",
        "accuracy",
        "experiments",
        "changelog",
    )
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
