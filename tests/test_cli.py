import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import blockmat as bm
from blockmat.cli import main
from blockmat.testing import assert_matches_dense, project_dense

RNG = np.random.default_rng(0)
S = RNG.standard_normal((6, 6))
S = S @ S.T
LABELS = ["b", "a", "b", "a", "a", "c"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("S.npy", S)
    np.savetxt("S.csv", S, delimiter=",")
    np.savez("S.npz", S)
    sp.save_npz("sparse.npz", sp.csr_array(S))
    scipy.io.mmwrite("S.mtx", sp.coo_array(S))
    (tmp_path / "labels.txt").write_text("\n".join(LABELS) + "\n")
    np.save("labels.npy", LABELS)
    return tmp_path


def test_fit_reads_a_csv_file_with_a_byte_order_mark(folder):
    (folder / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (folder / "S.csv").read_bytes())
    assert main("fit bom.csv --labels labels.txt --output fit.npz".split()) == 0
    assert_matches_dense(bm.load("fit.npz"), project_dense(S, LABELS), rtol=1e-6)


def test_a_picture_has_the_name_of_its_file_as_text(folder):
    (folder / "a$x_{$.npy").write_bytes((folder / "S.npy").read_bytes())
    assert main("fit a$x_{$.npy --blocks 2 --output f --plot p.png".split()) == 0
    assert (folder / "p.png").exists()


@pytest.mark.parametrize("name", ["S.npy", "S.csv", "S.npz", "sparse.npz", "S.mtx"])
@pytest.mark.parametrize("labels", ["labels.txt", "labels.npy"])
def test_fit_reads_every_format(name, labels, capsys):
    assert main(["fit", name, "--labels", labels, "--output", "fit.npz"]) == 0
    assert "relative error 0." in capsys.readouterr().out
    A = bm.load("fit.npz")
    assert A.partition.names == ("a", "b", "c")
    assert_matches_dense(A, project_dense(S, LABELS), rtol=1e-6)


def test_fit_options(capsys):
    assert main("fit S.npy --sizes 3,2,1 --numbers 1 --output a".split()) == 0
    assert_matches_dense(bm.load("a"), project_dense(S, [0, 0, 0, 1, 1, 2], 1))
    assert main("fit S.npy --blocks 4 --output b".split()) == 0
    assert bm.load("b").partition.sizes.tolist() == [2, 2, 1, 1]
    assert main("fit S.npy --blocks 2 --aligned --output c --plot p.png".split()) == 0
    assert_matches_dense(bm.load("c"), project_dense(S, [0, 0, 0, 1, 1, 1], aligned=True))
    with open("p.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"
    assert main("fit sparse.npz --blocks 2 --output d --plot q.png".split()) == 0


def test_info(capsys):
    main("fit S.npy --blocks 2 --output f".split())
    capsys.readouterr()
    assert main(["info", "f"]) == 0
    out = capsys.readouterr().out
    for line in (
        "6x6 BlockConstantMatrix of 2 blocks",
        "Hermitian:         yes",
        "log-determinant",
    ):
        assert line in out
    bm.BlockConstantMatrix([0, 1], [[1, 2], [0, 1]]).save("g")
    assert main(["info", "g"]) == 0
    assert "Hermitian:         no" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("inv", lambda A: A.inv()),
        ("invsqrtm", lambda A: A.invsqrtm()),
        ("sqrtm", lambda A: A.sqrtm()),
        ("logm", lambda A: A.logm()),
        ("expm", lambda A: A.expm()),
        ("power:1.5", lambda A: A.powm(1.5)),
        ("power:-2", lambda A: A.powm(-2)),
    ],
)
@pytest.mark.parametrize("shape", [(6,), (6, 2)])
def test_apply(name, function, shape):
    A = bm.fit(S, LABELS) / 10
    A.save("f")
    x = RNG.standard_normal(shape)
    np.save("x.npy", x)
    assert main(["apply", "f", "x.npy", "--function", name, "--output", "y.npy"]) == 0
    np.testing.assert_array_equal(np.load("y.npy"), function(A) @ x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit missing.npy --blocks 2 --output f", "error: missing.npy: No such file or directory"),
        (
            "fit S.txt --blocks 2 --output f",
            "S.txt ends in .txt; expected .npy, .npz, .mtx or .csv",
        ),
        ("fit labels.txt --blocks 2 --output f", "expected .npy"),
        ("fit damaged.npy --blocks 2 --output f", "damaged.npy cannot be read as .npy"),
        ("fit damaged.mtx --blocks 2 --output f", "damaged.mtx cannot be read as .mtx"),
        ("fit damaged.csv --blocks 2 --output f", "damaged.csv cannot be read as .csv"),
        (
            "fit named.csv --blocks 2 --output f",
            "expected numbers without names of rows or columns",
        ),
        ("fit two.npz --blocks 2 --output f", "holds the arrays a, b; expected one"),
        (
            "fit labels.npy --blocks 2 --output f",
            "labels.npy has shape (6,); expected a square matrix",
        ),
        ("fit S.npy --labels gap.txt --output f", "gap.txt has no label in line 2"),
        (
            "fit S.npy --labels short.txt --output f",
            "short.txt has 2 labels; expected 6, one for each variable (one label a line, no header)",
        ),
        (
            "fit S.npy --labels header.csv --output f",
            "header.csv has 7 labels; expected 6, one for",
        ),
        ("fit S.npy --labels bytes.txt --output f", "bytes.txt is not a text file in UTF-8"),
        (
            "fit S.npy --labels objects.npy --output f",
            "objects.npy cannot be read as .npy: it holds Python",
        ),
        (
            "fit objects.npy --blocks 2 --output f",
            "objects.npy cannot be read as .npy: it holds Python",
        ),
        (
            "fit objects.npz --blocks 2 --output f",
            "objects.npz cannot be read as .npz: it holds Python",
        ),
        (
            "fit damaged.npz --blocks 2 --output f",
            "damaged.npz cannot be read as .npz: it is in another format",
        ),
        ("fit archive.npy --blocks 2 --output f", "expected a .npy file, as numpy.save writes it"),
        ("fit empty.npy --blocks 2 --output f", "empty.npy cannot be read as .npy"),
        (
            "apply good S.csv --function inv --output y",
            "S.csv cannot be read as .npy: it is in another format; expected a .npy file, as",
        ),
        ("fit S.npy --labels names.csv --output f", "names.csv has several columns; expected one"),
        ("fit S.npy --sizes 3,x --output f", "--sizes is '3,x'"),
        ("fit S.npy --sizes= --output f", "--sizes is ''; expected integers such as 3,4,2"),
        ("fit S.npy --sizes 3,3, --output f", "--sizes is '3,3,'; expected integers"),
        ("fit S.npy --sizes 6,0 --output f", "sizes[1] is 0"),
        ("fit S.npy --sizes 4611686018427387904,4611686018427387904 --output f", "sizes add up to"),
        ("fit S.npy --labels= --output f", "Is a directory"),
        ("fit S.npy --blocks 0 --output f", "--blocks is 0; expected 1 to 6"),
        ("fit S.npy --blocks 7 --output f", "--blocks is 7"),
        ("fit S.npy --blocks 2 --numbers 1 --aligned --output f", "aligned is True with numbers=1"),
        ("fit S.npy --blocks 2 --output no/such/folder/f", "no/such/folder"),
        ("info missing", "error: missing: No such file or directory"),
        ("info S.npy", "S.npy is not a complete file saved by blockmat"),
        ("info rectangular", "rectangular holds a rectangular matrix"),
        ("apply S.npy S.npy --function inv --output y", "not a complete file saved by blockmat"),
        (
            "apply good S.npy --function cos --output y",
            "--function is 'cos'; expected one of inv, invsqrtm",
        ),
        ("apply good S.npy --function power:x --output y", "expected a number after power:"),
        ("apply good S.npy --function power: --output y", "--function is 'power:'"),
        ("apply good short.npy --function inv --output y", "x has shape (2,); expected (6,)"),
        ("apply good missing.npy --function inv --output y", "missing.npy"),
        ("apply singular short.npy --function inv --output y", "between core is singular"),
    ],
)
def test_errors_are_one_line_and_exit_with_2(folder, capsys, arguments, message):
    for name in ("damaged.npy", "damaged.npz", "damaged.mtx", "damaged.csv"):
        (folder / name).write_text("not a matrix")
    (folder / "names.csv").write_text("a,0\nb,0\nc,1\nd,1\ne,2\nf,2\n")
    (folder / "named.csv").write_text(",a,b\na,2,1\nb,1,2\n")
    np.savez("two.npz", a=S, b=S)
    np.save("short.npy", np.ones(2))
    (folder / "gap.txt").write_text("a\n\nb\n")
    (folder / "short.txt").write_text("a\nb\n")
    (folder / "header.csv").write_text("\n".join(["label", *LABELS]))
    (folder / "bytes.txt").write_bytes(b"\xff\n")
    (folder / "empty.npy").touch()
    objects = np.array(LABELS, dtype=object)
    np.save("objects.npy", objects)
    np.savez("objects.npz", objects)
    (folder / "archive.npy").write_bytes((folder / "S.npz").read_bytes())
    bm.fit(S, LABELS).save("good")
    bm.BlockConstantMatrix([0, 1], np.ones((2, 2))).save("singular")
    bm.BlockRectangularMatrix([0], [0, 1], [[1, 2]]).save("rectangular")
    before = sorted(path.name for path in folder.iterdir())
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"python -m blockmat {arguments.split()[0]}: error: ")
    assert message in captured.err
    assert "Errno" not in captured.err
    assert "pickle" not in captured.err
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    ["", "nonsense", "fit S.npy --output f", "fit S.npy --blocks 2 --sizes 6 --output f"],
)
def test_usage_errors_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert caught.value.code == 2
    assert "usage: python -m blockmat" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", "fit", "info", "apply"])
def test_help_describes_every_option(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    assert "show this help" in capsys.readouterr().out


def test_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "blockmat", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == f"blockmat {bm.__version__}"


def test_the_session_in_the_docs(capsys):
    page = Path(__file__).parents[1] / "docs" / "command-line.md"
    session = page.read_text(encoding="utf-8").partition("```console\n")[2].partition("```")[0]
    np.save("S.npy", np.eye(8) + 1)
    np.save("x.npy", np.arange(8.0))
    commands = re.findall(r"^\$ python -m blockmat (.*)\n((?:[^$].*\n)*)", session, re.MULTILINE)
    assert len(commands) == 3
    for command, output in commands:
        assert main(command.split()) == 0
        assert capsys.readouterr().out == output


def test_bytes_for_standard_output_are_not_mixed_with_words(folder):
    if not Path("/dev/stdout").exists():
        pytest.skip("needs /dev/stdout")
    command = "fit S.npy --sizes 3,2,1 --output /dev/stdout".split()
    done = subprocess.run([sys.executable, "-m", "blockmat", *command], capture_output=True, check=True,
                          cwd=folder, env={**os.environ, "PYTHONPATH": str(Path(bm.__file__).parents[1])})  # fmt: skip
    (folder / "piped").write_bytes(done.stdout)
    assert_matches_dense(bm.load("piped"), project_dense(S, [0, 0, 0, 1, 1, 2]))
    assert b"saved to /dev/stdout" in done.stderr
    assert done.stdout.startswith(b"PK")
    assert b"saved to" not in done.stdout


@pytest.mark.parametrize("command", ["fit", "apply"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_output_may_be_a_pipe(folder, command):
    bm.fit(S, LABELS).save("f")
    os.mkfifo("pipe")
    arguments = {
        "fit": "fit S.npy --blocks 2 --output pipe",
        "apply": "apply f S.npy --function inv --output pipe",
    }
    with ThreadPoolExecutor(1) as pool:
        content = pool.submit((folder / "pipe").read_bytes)
        assert main(arguments[command].split()) == 0
        (folder / "copy").write_bytes(content.result(timeout=60))
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    result = bm.load("copy").toarray() if command == "fit" else np.load("copy")
    assert result.shape == (6, 6)
