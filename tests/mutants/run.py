"""Mutation tests: change one thing in a numerical module and see whether its tests fail.

Cosmic Ray makes the changes, in copies of the sources in a temporary folder. A change that
no test notices must be a row of survivors.tsv with the reason why it does no harm.
"""

import argparse
import ast
import contextlib
import hashlib
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONFIG = tomllib.loads((HERE / "config.toml").read_text())
MEMORY = 16 << 30  # bytes of address space that one process of a test run may take


class ScaleNumber:
    """Multiply a number by 1000, or divide it; not an index, 0, or (by 1000) an integer."""

    def mutation_positions(self, node):
        if node.type == "number" and node.parent.type not in ("trailer", "subscript"):
            value = ast.literal_eval(node.value)
            ways = 2 if isinstance(value, float) and value else isinstance(value, int) and value > 1
            yield from [(node.start_pos, node.end_pos)] * ways

    def mutate(self, node, index):
        value = ast.literal_eval(node.value)
        node.value = repr(value / 1000 if index else value * 1000)
        return node


class Swap:
    """Replace a name or an operator by its opposite."""

    def mutation_positions(self, node):
        if getattr(node, "value", None) in CONFIG["swaps"]:
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        node.value = CONFIG["swaps"][node.value]
        return node


OPERATORS = {name: get_operator(f"core/{name}")() for name in CONFIG["operators"]}
OPERATORS |= {"ScaleNumber": ScaleNumber(), "Swap": Swap()}


class Place(NamedTuple):
    """One thing that can be changed."""

    function: str
    line: str
    operator: str
    occurrence: int
    start: tuple
    end: tuple


def is_numerical(node):
    """Whether it is not part of a message, an annotation, a decorator or a technical argument."""
    while parent := node.parent:
        kind, first = parent.type, parent.children[0]
        if (
            kind in ("raise_stmt", "fstring", "decorator", "import_from")
            or (kind == "annassign" and node is parent.children[1])
            or (kind == "param" and node is not parent.default)
            or (kind == "funcdef" and node is parent.annotation)
            or (kind == "argument" and getattr(first, "value", "") in CONFIG["technical"])
        ):
            return False
        node = parent
    return True


def scopes(node):
    """Yield the names of the functions and classes around it, the innermost first."""
    while node := node.parent:
        if node.type in ("funcdef", "classdef"):
            yield node.name.value


def places(module, code, seed):
    """Return every place of a module, in an order that mixes the kinds of changes.

    Within a kind the order is that of hashes of the lines, so that a change of the source
    leaves most of a sample as it is.
    """
    tree, lines, seen, kinds = get_ast(code), code.splitlines(), Counter(), {}
    for name, operator in OPERATORS.items():
        kind, _, replacement = name.partition("_")
        in_kind = kinds.setdefault(kind if replacement or "Number" in name else "other", [])
        found = (
            (node, *at) for node in ast_nodes(tree) for at in operator.mutation_positions(node)
        )
        for occurrence, (node, start, end) in enumerate(found):
            if is_numerical(node):
                line = lines[start[0] - 1]
                function = ".".join(reversed([*scopes(node)])) or "-"
                key = (seed, module, function, line.strip(), name, start[1] - len(line))
                seen[key] += 1
                order = hashlib.sha256(repr((*key, seen[key])).encode()).digest()
                in_kind.append((order, Place(function, line.strip(), name, occurrence, start, end)))
    turns = [(turn, *found) for kind in kinds.values() for turn, found in enumerate(sorted(kind))]
    return [place for *_, place in sorted(turns)]


def mutate(place, code):
    """Return the source with the change made, and its line as it is then."""
    offsets = [0, *itertools.accumulate(map(len, code.splitlines(keepends=True)))]
    first, last = (offsets[row - 1] + column for row, column in (place.start, place.end))
    mutated = mutate_code(code, OPERATORS[place.operator], place.occurrence)
    pairs = zip(code[:first], mutated, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    new = mutated[same : len(mutated) - len(code) + last].strip()  # blanks before it may be lost
    mutated = code[:first] + new + code[last:]
    return mutated, mutated.splitlines()[place.start[0] - 1].strip()


class Job(NamedTuple):
    """Tests to run, with one module changed or none."""

    tests: tuple
    limit: float  # seconds
    key: tuple = ()  # of survivors.tsv: module, function, line, mutant
    source: str = ""


def is_compiled(module):
    """Whether the module has Numba kernels."""
    return Path(module).name == "kernels.py"


def start(job, folder):
    """Start the tests in a copy of the project."""
    environment = os.environ | {
        "CI": "1",  # the same Hypothesis examples every time
        "BLOCKMAT_TEST_EXAMPLES": "20",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(folder),
        "TMPDIR": str(folder),  # for what killed tests leave
    }
    if job.key:
        (folder / "blockmat" / job.key[0]).write_text(job.source)
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        if is_compiled(job.key[0]):  # the usual cache keeps the kernels as they are
            environment["NUMBA_CACHE_DIR"] = str(folder / "numba")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *job.tests]
    command += [f"--deselect={test}" for test in CONFIG["slow"]]
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def stop(process):
    """Kill a test run with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_all(jobs, folders, original):
    """Run the jobs, one at a time in each folder; yield each with its outcome and seconds."""
    free, running = list(folders), {}
    try:
        while True:
            while free and (job := next(jobs, None)):
                folder = free.pop()
                running[folder] = job, start(job, folder), time.monotonic()
            if not running:
                return
            time.sleep(0.05)
            for folder, (job, process, since) in list(running.items()):
                status, seconds = process.poll(), time.monotonic() - since
                if status is None and seconds < job.limit:
                    continue
                stop(process)
                del running[folder]
                free.append(folder)
                if job.key:  # with its time stamp, by which caches know it
                    name = Path("blockmat", job.key[0])
                    shutil.copy2(original / name, folder / name)
                yield (
                    job,
                    "timeout" if status is None else "killed" if status else "survived",
                    seconds,
                )
    finally:
        for _, process, _ in running.values():
            stop(process)


def time_limits(suites, original):
    """Run the tests of each module without a change, which fills the caches; return their limits."""
    limits = {}
    jobs = (Job(tests, 1200) for tests in dict.fromkeys(suites))
    for job, outcome, seconds in run_all(jobs, [original], original):
        if outcome != "survived":
            sys.exit((original / "output.txt").read_text() + "These tests fail without a change.")
        limits[job.tests] = 30 + 5 * seconds
        print(f"{seconds:5.1f} s unchanged ", *job.tests, flush=True)
    return limits


def sample(modules, limits, size, seed, original):
    """Yield a job for each mutant of the sample."""
    for module, tests in modules.items():
        code = (original / "blockmat" / module).read_text()
        limit = limits[tests] + (300 if is_compiled(module) else 0)  # seconds to compile all
        jobs = []
        for place in places(module, code, seed):
            source, mutant = mutate(place, code)
            with contextlib.suppress(SyntaxError):
                compile(source, module, "exec")
                jobs.append(Job(tests, limit, (module, place.function, place.line, mutant), source))
            if len(jobs) == size:
                break
        yield from jobs


def report(results, known):
    """Print the score of each module and the new survivors; return whether there are any."""
    print(f"\n{'module':30}{'mutants':>9}{'killed':>9}{'timeout':>9}{'survived':>9}{'score':>9}")
    for module in [*dict.fromkeys(key[0] for key, _ in results), "all"]:
        counts = Counter(outcome for key, outcome in results if module in (key[0], "all"))
        total, survived = max(counts.total(), 1), counts["survived"]
        print(f"{module:30}{total:9}{counts['killed']:9}{counts['timeout']:9}", end="")
        print(f"{survived:9}{1 - survived / total:9.0%}")
    survivors = dict.fromkeys(key for key, outcome in results if outcome == "survived")
    new = [key for key in survivors if key not in known]
    print(f"\n{len(survivors)} survivors, {len(new)} of them not in tests/mutants/survivors.tsv")
    for key in new:
        print(*key, "", sep="\t")
    return bool(new)


def main(arguments, folder):
    """Run the command in a temporary folder; return its exit status."""
    rows = [row.split("\t") for row in (HERE / "survivors.tsv").read_text().splitlines()[1:]]
    original, workers = folder / "original", [folder / str(i) for i in range(arguments.workers)]
    for name in ("blockmat", "tests"):
        shutil.copytree(ROOT / name, original / name)
    shutil.copy2(ROOT / "setup.cfg", original)
    modules = {
        module: (*(f"tests/{test}" for test in tests), f"blockmat/{module}")
        for module, tests in CONFIG["tests"].items()
        if module in (arguments.only or CONFIG["tests"])
    }
    for row in rows:
        if row[0] in modules and row[2] not in (original / "blockmat" / row[0]).read_text():
            print("no longer in the source:", *row[:3], sep="\t")

    limits = time_limits(modules.values(), original)
    for worker in workers:
        shutil.copytree(original, worker)
    jobs = sample(modules, limits, arguments.sample, arguments.seed, original)
    results = []
    try:
        for job, outcome, seconds in run_all(jobs, workers, original):
            results.append((job.key, outcome))
            print(f"{seconds:5.1f} s {outcome:9}", *job.key, sep="  ", flush=True)
    finally:
        is_new = report(results, {tuple(row[:4]) for row in rows})
    return int(is_new)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=10, help="mutants of each module; 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="test runs at a time")
    parser.add_argument("--only", nargs="+", metavar="MODULE", help="modules as in config.toml")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        try:
            sys.exit(main(parser.parse_args(), Path(temporary)))
        except KeyboardInterrupt:
            sys.exit(130)
