"""Draw the imports between the folders of blockmat, and count modules, levels and circles.

Run ``python docs/imports.py FILE.svg`` in the root of the checkout; needs the ``dev`` extra. The
drawing of the folders is docs/images/imports.svg, which CONTRIBUTING.md shows. With
``--modules`` it draws every module.
"""

import argparse
import ast
from collections import Counter
from pathlib import Path

import grimp
import networkx as nx
from matplotlib.figure import Figure

PACKAGE = "blockmat"


def module_graph() -> nx.DiGraph:
    """Return the modules and their imports from each other, those inside functions too."""
    imports = grimp.build_graph(PACKAGE, cache_dir=None)
    graph = nx.DiGraph()
    for module in imports.modules:
        graph.add_node(module)
        graph.add_edges_from(
            (module, other) for other in imports.find_modules_directly_imported_by(module)
        )
    return graph


def levels(graph: nx.DiGraph) -> dict[str, int]:
    """Return the level of each node: modules of one circle share one, importers are above."""
    condensed = nx.condensation(graph)
    level: dict[int, int] = {}
    for node in reversed(list(nx.topological_sort(condensed))):
        level[node] = 1 + max((level[below] for below in condensed.successors(node)), default=0)
    return {name: level[node] for node in condensed for name in condensed.nodes[node]["members"]}


def folders_of(graph: nx.DiGraph) -> nx.DiGraph:
    """Return the rooms of the top level, with the number of imports between them."""

    def room(module: str) -> str:
        return ".".join(module.split(".")[1:2]) or PACKAGE

    count = Counter((room(a), room(b)) for a, b in graph.edges if room(a) != room(b))
    rooms = nx.DiGraph()
    rooms.add_nodes_from({room(module) for module in graph})
    rooms.add_edges_from((a, b, {"imports": n}) for (a, b), n in count.items())
    return rooms


def draw(graph: nx.DiGraph, path: Path) -> None:
    """Draw the nodes by level, the lowest at the bottom, and an arrow for each import."""
    level = levels(graph)
    rows = {n: sorted(name for name in graph if level[name] == n) for n in set(level.values())}
    widest = max(map(len, rows.values()))
    places = {
        name: ((i + 0.5) * widest / len(row) - widest / 2, n)
        for n, row in rows.items()
        for i, name in enumerate(row)
    }
    figure = Figure(figsize=(max(7, 1.35 * widest), 0.8 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    for a, b in graph.edges:
        upward = level[a] <= level[b]
        axes.annotate("", places[b], places[a], arrowprops={
            "arrowstyle": "-|>", "color": "crimson" if upward else "0.6", "linewidth": 0.7,
            "shrinkA": 9, "shrinkB": 9, "connectionstyle": "arc3,rad=0.12",
        })  # fmt: skip
    for name, (x, y) in places.items():
        axes.text(x, y, name.removeprefix(f"{PACKAGE}."), ha="center", va="center", fontsize=8,
                  bbox={"boxstyle": "round", "facecolor": "#eef3f8", "edgecolor": "#7a93ad"})  # fmt: skip
    axes.set_xlim(-widest / 2, widest / 2)
    axes.set_ylim(0.5, len(rows) + 0.5)
    figure.savefig(path, metadata={"Date": None})


def docstring_lines(tree: ast.Module) -> int:
    """Return how many lines of a module are docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return sum(
        node.body[0].end_lineno - node.body[0].lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--modules", action="store_true", help="draw modules and not folders")
    options = parser.parse_args()
    graph = module_graph()
    circles = [c for c in nx.strongly_connected_components(graph) if len(c) > 1]
    files = {path: path.read_text(encoding="utf-8") for path in Path(PACKAGE).rglob("*.py")}
    lines = {path: len(text.splitlines()) for path, text in files.items()}
    longest = max(lines, key=lambda path: lines[path])
    print(
        f"modules {len(files)}, levels {max(levels(graph).values())}, imports {graph.number_of_edges()}"
    )
    print(f"circles {len(circles)}", *(sorted(c) for c in circles))
    docs = sum(docstring_lines(ast.parse(text)) for text in files.values())
    print(
        f"lines {sum(lines.values())}, of docstrings {docs}, longest file {longest} with {lines[longest]}"
    )
    rooms = folders_of(graph)
    print(f"rooms at the top level {len(rooms) - 1}, levels {max(levels(rooms).values())}")
    if options.path:
        draw(graph if options.modules else rooms, options.path)


if __name__ == "__main__":
    main()
