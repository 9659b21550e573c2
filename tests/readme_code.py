"""Print the README's code as one program, for a type checker."""

import doctest
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"

if __name__ == "__main__":
    print(doctest.script_from_examples(README.read_text("utf-8")))
