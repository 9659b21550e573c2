"""The test suite on every supported Python, and with the oldest dependencies."""

import nox

nox.options.default_venv_backend = "venv"


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run the suite with the pinned dependencies, and with more examples than `make test`."""
    session.install("-c", "constraints.txt", "-e", ".[test]")
    examples = {"BLOCKMAT_TEST_EXAMPLES": "100"}
    session.run("pytest", "-n", "auto", *session.posargs, env=examples)


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """Run the suite with the lower bounds of setup.cfg.

    Without doctests, because NumPy 1 prints scalars in another way.
    """
    session.install(
        "-e",
        ".[test]",
        "numpy==1.26.4",
        "scipy==1.15.2",
        "numba==0.60.0",
        "array-api-compat==1.11",
    )
    session.run("pytest", "-n", "auto", "tests", *session.posargs)
