"""The structure of the package: folders, the direction of imports, and private names."""

import ast
import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

import blockmat

ROOT = Path(blockmat.__file__).parent
# Each room imports only from rooms of the lines above it, and from its own folder.
FLOORS = (
    ("exceptions",),
    ("blocks",),
    ("cores",),
    ("sources",),
    ("matrices",),
    ("fitting",),
    ("finding",),
    ("inference",),
    ("optim", "torch", "covariance", "plot", "testing"),
    ("skfolio",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
# Modules that are imported inside functions, because they load a slow package or need an optional one.
LATE = {
    "blocks.kernels": "from blockmat.blocks.jit import",
    "sources.kernels": "from blockmat.blocks.jit import",
    "finding.correlations.kernels": "from blockmat.blocks.jit import",
    "matrices.scipy_covariance": "from scipy.stats import",
    "blocks.chunked": 'import_extra("dask',
    "matrices.chunked": 'import_extra("dask',
    "sources.dask_matrix": 'import_extra("dask',
    "torch.linear_operator": "from linear_operator.operators import",
    "sources.dask_observed": "from blockmat.sources.dask_source import DaskSource",
    "sources.dask_samples": "from blockmat.sources.dask_source import DaskSource",
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def tree(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports(module):
    """Return ((imported module, name), whether inside a function) for imports from the package."""
    return list(_imports(module))


def _imports(module):
    inside = {
        id(node)
        for function in ast.walk(tree(module))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            found = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for source, name in found:
            if source.split(".")[0] != "blockmat":
                continue
            source = source.removeprefix("blockmat").lstrip(".") or "__init__"
            longer = name if source == "__init__" else f"{source}.{name}"
            yield (longer, "") if longer in MODULES else (source, name), id(node) in inside


def room(module):
    return module.split(".")[0]


def floor(module):
    return next(i for i, rooms in enumerate(FLOORS) if room(module) in rooms)


def test_the_top_level_has_at_most_fifteen_rooms():
    rooms = {room(module) for module in MODULES} - {"__init__"}
    assert rooms == set(chain(*FLOORS)) - {"__init__"}
    assert len(rooms - {"__main__"}) <= 15


def test_imports_go_one_way():
    for module in MODULES:
        for (source, _), _ in imports(module):
            is_below = room(source) == room(module) or floor(source) < floor(module)
            assert is_below, f"{module} imports {source}"


def test_no_modules_import_each_other_in_a_circle():
    arrows = {m: {source for (source, _), _ in imports(m)} - {m} for m in MODULES}
    done = set()
    while ready := {m for m in arrows.keys() - done if arrows[m] <= done}:
        done |= ready
    assert not arrows.keys() - done


@pytest.mark.parametrize("folder", [m for m in MODULES if MODULES[m].name == "__init__.py"])
def test_a_folder_says_what_it_may_import(folder):
    if folder == "__init__":
        return
    text = ast.get_docstring(tree(folder))
    allowed = set(re.findall(r"`blockmat\.([\w.]+)`", text.partition("May import:")[2]))
    for module in MODULES:
        if module == folder or module.startswith(f"{folder}."):
            for (source, _), _ in imports(module):
                is_own = source == folder or source.startswith(f"{folder}.")
                assert is_own or any(source == a or source.startswith(f"{a}.") for a in allowed), (
                    module,
                    source,
                )


def test_only_modules_that_load_a_slow_package_are_imported_inside_functions():
    for module in MODULES:
        for (source, _), is_inside in imports(module):
            assert not is_inside or source in LATE, f"{module} imports {source}"


@pytest.mark.parametrize("module", LATE)
def test_modules_that_are_imported_late_load_a_slow_package(module):
    assert LATE[module] in MODULES[module].read_text(encoding="utf-8")


@cache
def private_names(module):
    """Return the names with one leading underscore that a module defines."""
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return {name for name in names if re.match(r"_[^_]", name)}


def test_no_module_uses_a_private_name_of_another():
    every = set().union(*map(private_names, MODULES))
    for module in MODULES:
        for (source, name), _ in imports(module):
            is_private = any(re.match(r"_[^_]", part) for part in (*source.split("."), name))
            assert not is_private, f"{module} imports {source}.{name}"
        others = every - private_names(module)
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute) and node.attr in others:
                is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                is_super = isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
                assert is_own or is_super, f"{module} uses {ast.unparse(node)}"
