"""Checks of what is uploaded for a release: `make package` runs the quick ones, `make release-check` all."""
