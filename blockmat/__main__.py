"""Run the command line: ``python -m blockmat``."""

import sys

from blockmat.cli import main

sys.exit(main())
