"""The command line: ``python -m blockmat fit | info | apply``."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import blockmat as bm
from blockmat.blocks.extras import import_extra
from blockmat.blocks.files import write_atomically
from blockmat.blocks.partition import as_partition
from blockmat.plot import plot_fit
from blockmat.plot.figures import plain_text

_FUNCTIONS = ("inv", "invsqrtm", "sqrtm", "logm", "expm", "power:P")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The arguments; by default ``sys.argv[1:]``.

    Returns
    -------
    int
        The exit code: 0, or 2 after a one-line error message.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        message = " ".join(_text(error).split())
        print(f"{parser.prog} {options.command}: error: {message}", file=sys.stderr)
        return 2
    return 0


def _text(error: Exception) -> str:
    """Return the message of an error, without the number of an error of the operating system."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m blockmat",
        description="Approximate a matrix by one or two numbers per block, and compute with it.",
    )
    parser.add_argument("--version", action="version", version=f"blockmat {bm.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _add_fit(commands)
    _add_info(commands)
    _add_apply(commands)
    return parser


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser("fit", help="fit a matrix and save the result")
    fit.add_argument(
        "input", metavar="INPUT", type=Path,
        help="a square matrix, not samples: .npy, .npz (scipy.sparse, or with one array), .mtx or .csv",
    )  # fmt: skip
    blocks = fit.add_mutually_exclusive_group(required=True)
    blocks.add_argument("--labels", metavar="FILE", type=Path,
                        help="the block of each variable: .npy, or text with one label a line, no header")  # fmt: skip
    blocks.add_argument(
        "--sizes", metavar="N,N,...", help="sizes of consecutive blocks, such as 3,4,2"
    )
    blocks.add_argument("--blocks", metavar="K", type=int,
                        help="K consecutive blocks of nearly equal sizes")  # fmt: skip
    fit.add_argument("--numbers", type=int, choices=(1, 2), default=2,
                     help="numbers in a diagonal block (default: %(default)s)")  # fmt: skip
    fit.add_argument("--aligned", action="store_true", help="two numbers in every square block")
    fit.add_argument(
        "--output", metavar="FIT", type=Path, required=True, help="the .npz file to write"
    )
    fit.add_argument("--plot", metavar="PNG", type=Path, help="also draw the matrix and its fit")
    fit.set_defaults(run=_fit)


def _add_info(commands: Any) -> None:
    info = commands.add_parser("info", help="describe a saved fit")
    info.add_argument("fit", metavar="FIT", type=Path, help="a file that fit has written")
    info.set_defaults(run=_info)


def _add_apply(commands: Any) -> None:
    apply = commands.add_parser("apply", help="multiply vectors by a function of a saved fit")
    apply.add_argument("fit", metavar="FIT", type=Path, help="a file that fit has written")
    apply.add_argument(
        "vectors", metavar="VECTORS", type=Path, help="an .npy array of shape (n,) or (n, m)"
    )
    apply.add_argument("--function", metavar="NAME", required=True,
                       help="one of " + ", ".join(_FUNCTIONS) + " (P a real number)")  # fmt: skip
    apply.add_argument(
        "--output", metavar="Y", type=Path, required=True, help="the .npy file to write"
    )
    apply.set_defaults(run=_apply)


def _fit(options: argparse.Namespace) -> None:
    if options.plot:
        import_extra("matplotlib", "plot", "--plot")
    source = _read_matrix(options.input)
    if len(source.shape) != 2 or source.shape[0] != source.shape[1]:
        raise ValueError(f"{options.input} has shape {source.shape}; expected a square matrix")
    partition = _partition(options, source.shape[0])
    A = bm.fit(source, partition, numbers=options.numbers, aligned=options.aligned)
    error = bm.approximation_error(source, A)
    A.save(options.output)
    _report(f"{A!r}: relative error {error:.4g}, saved to {options.output}", options.output)
    if options.plot:
        plot_fit(source, A, plain_text(options.input.name)).savefig(options.plot, dpi=110)
        _report(f"picture saved to {options.plot}", options.output)


def _report(line: str, output: Path) -> None:
    """Print a line; to standard error if the output file is standard output."""
    try:
        is_output = os.path.samestat(os.stat(output), os.fstat(sys.stdout.fileno()))
    except OSError:  # standard output is not a file
        is_output = False
    print(line, file=sys.stderr if is_output else sys.stdout)


def _partition(options: argparse.Namespace, n: int) -> bm.Partition:
    """Return the partition given by --labels, --sizes or --blocks."""
    if options.labels is not None:
        return as_partition(_read_labels(options.labels, n), n, str(options.labels))
    if options.sizes is not None:
        try:
            sizes = [int(size) for size in options.sizes.split(",")]
        except ValueError:
            raise ValueError(
                f"--sizes is {options.sizes!r}; expected integers such as 3,4,2"
            ) from None
        return bm.Partition.from_sizes(sizes)
    if not 1 <= options.blocks <= n:
        raise ValueError(
            f"--blocks is {options.blocks}; expected 1 to {n}, the number of variables"
        )
    return bm.Partition.from_sizes(
        [len(part) for part in np.array_split(np.arange(n), options.blocks)]
    )


def _read_matrix(path: Path) -> Any:
    """Read a dense or sparse matrix. The ending of the file name gives the format."""
    kind = path.suffix.lower()
    if kind == ".npy":
        return _read_npy(path, mmap_mode="r")
    if kind == ".npz":
        return _parse(path, lambda: _read_npz(path))
    if kind == ".mtx":
        from scipy.io import mmread

        return _parse(path, lambda: mmread(path, spmatrix=False))
    if kind == ".csv":
        return _parse(path, lambda: _read_csv(path))
    raise ValueError(f"{path} ends in {kind or 'nothing'}; expected .npy, .npz, .mtx or .csv")


def _read_csv(path: Path) -> Any:
    """Read numbers separated by commas."""
    with open(path, encoding="utf-8-sig") as file:
        try:
            return np.loadtxt(file, delimiter=",", ndmin=2)
        except ValueError as error:
            raise ValueError(
                f"{error}; expected numbers without names of rows or columns, as written by "
                f"frame.to_csv(path, header=False, index=False)"
            ) from error


def _parse(path: Path, read: Callable[[], Any], kind: str = "") -> Any:
    """Call a function that reads a file, and name the file and its kind in errors."""
    with open(path, "rb"):  # raises an OSError if the file is missing or not readable
        pass
    try:
        return read()
    except Exception as error:
        raise ValueError(f"{path} cannot be read as {kind or path.suffix}: {error}") from error


def _read_npy(path: Path, **options: Any) -> Any:
    """Read the array of a file that `numpy.save` has written."""

    def read() -> Any:
        _require_start(path, np.lib.format.MAGIC_PREFIX, "a .npy file, as numpy.save writes it")
        return np.load(path, allow_pickle=False, **options)

    return _parse(path, lambda: _without_objects(read), ".npy")


def _read_npz(path: Path) -> Any:
    """Read a sparse matrix, or the only array of an archive."""
    from scipy.sparse import load_npz

    _require_start(path, b"PK", "a .npz file, as numpy.savez or scipy.sparse.save_npz writes it")
    with np.load(path, allow_pickle=False) as archive:
        names = archive.files
        if "format" not in names:
            if len(names) != 1:
                raise ValueError(f"it holds the arrays {', '.join(names)}; expected one")
            return _without_objects(lambda: archive[names[0]])
    return load_npz(path)


def _require_start(path: Path, start: bytes, expected: str) -> None:
    """Raise ValueError for a file that begins otherwise, which NumPy would take for a pickle."""
    with open(path, "rb") as file:
        found = file.read(len(start))
    if found and found != start:
        raise ValueError(f"it is in another format; expected {expected}")


def _without_objects(read: Callable[[], Any]) -> Any:
    """Call a function that reads an array, and say what to do with an array of objects."""
    try:
        return read()
    except ValueError as error:
        if "Object arrays" not in str(error) and "Python objects" not in str(error):
            raise
        raise ValueError(
            "it holds Python objects; expected numbers, or for labels also strings, such as "
            "labels.astype(str)"
        ) from None


def _read_labels(path: Path, n: int) -> Any:
    """Read an array, or text with n labels, one per line. Empty lines at the end are ignored."""
    if path.suffix.lower() == ".npy":
        return _read_npy(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8; expected one label a line") from None
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if path.suffix.lower() == ".csv" and any("," in line for line in lines):
        raise ValueError(
            f"{path} has several columns; expected one label a line, as written by "
            f"labels.to_csv(path, header=False, index=False)"
        )
    if "" in lines:
        raise ValueError(f"{path} has no label in line {lines.index('') + 1}")
    if len(lines) != n:
        raise ValueError(
            f"{path} has {len(lines)} labels; expected {n}, one for each variable (one label a line, "
            f"no header)"
        )
    return lines


def _load_square(path: Path) -> bm.BlockConstantMatrix:
    A = bm.load(path)
    if not isinstance(A, bm.BlockConstantMatrix):
        raise ValueError(f"{path} holds a rectangular matrix; expected a square one")
    return A


def _info(options: argparse.Namespace) -> None:
    A = _load_square(options.fit)
    p = A.partition
    lines = [
        ("matrix", repr(A)),
        ("partition", repr(p)),
        ("bytes", f"{A.nbytes} ({A.nbytes / (A.dtype.itemsize * p.n**2):.2e} of dense)"),
        ("Hermitian", "yes" if A.is_hermitian else "no"),
        ("trace", f"{A.trace():.6g}"),
        ("Frobenius norm", f"{A.norm():.6g}"),
        ("rank", f"{A.matrix_rank()} of {p.n}"),
        ("condition number", f"{A.cond():.6g}"),
    ]
    if A.is_hermitian:
        values, _ = A.eigvalsh()
        lines.append(("eigenvalues", f"{values[0]:.6g} to {values[-1]:.6g}"))
        definite = A.is_positive_definite()
        lines.append(("positive definite", "yes" if definite else "no"))
        if definite:
            lines.append(("log-determinant", f"{A.logdet():.6g}"))
    for name, value in lines:
        print(f"{name + ':':<19}{value}")


def _apply(options: argparse.Namespace) -> None:
    function = _function(options.function)
    A = _load_square(options.fit)
    vectors = _read_npy(options.vectors)
    result = function(A) @ vectors
    write_atomically(options.output, lambda file: np.save(file, result))
    _report(
        f"{options.function} applied to {vectors.shape}, saved to {options.output}", options.output
    )


def _function(name: str) -> Callable[[bm.BlockConstantMatrix], Any]:
    """Return the matrix function that --function names."""
    kind, _, exponent = name.partition(":")
    if kind == "power" and exponent:
        try:
            p = float(exponent)
        except ValueError:
            raise ValueError(f"--function is {name!r}; expected a number after power:") from None
        return lambda A: A.powm(p)
    if name not in _FUNCTIONS[:-1]:
        raise ValueError(f"--function is {name!r}; expected one of {', '.join(_FUNCTIONS)}")
    return lambda A: getattr(A, name)()
