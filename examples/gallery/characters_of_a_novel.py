"""
Characters of a novel: blocks of a network
==========================================

77 characters of *Les Misérables*, and in how many chapters two of them appear together (Knuth, *The Stanford GraphBase*,
1993). ``find_partition`` finds characters with the same acquaintances, and the matrix exponential of the
blocks says how well two of them communicate by paths of any length.
"""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np

import blockmat as bm
from blockmat import plot

graph = nx.les_miserables_graph()
names = np.array(graph.nodes)
W = nx.to_numpy_array(graph)
roots = np.sqrt(W.sum(axis=1))
L = W / np.outer(roots, roots)  # otherwise the busiest characters would be a block
p = bm.find_partition(L, 7)
for number, members in enumerate(p):
    busiest = members[np.argsort(-roots[members])]
    print(
        f"{number}:", ", ".join(names[busiest][:6]), "..." if len(members) > 6 else ""
    )

# %%
# The same in two pictures. The position of a character is made of weights alone, not of blocks.

position = nx.spring_layout(graph, seed=3, iterations=200)
A = bm.fit(L, p)
figure, axes = plt.subplots(
    1, 2, figsize=(11, 4.8), layout="constrained", width_ratios=(1.2, 1)
)
nx.draw_networkx_edges(graph, position, ax=axes[0], edge_color="0.75", width=0.6)
nx.draw_networkx_nodes(
    graph,
    position,
    ax=axes[0],
    node_color=p.labels,
    cmap="tab10",
    node_size=4 * roots**2,
)
for name in (
    "Valjean",
    "Marius",
    "Enjolras",
    "Fantine",
    "Myriel",
    "Thenardier",
    "Javert",
):
    axes[0].text(*position[name], name, fontsize=8, ha="center")
axes[0].axis("off")
plot.matrix(A, ax=axes[1])
plt.show()

# %%
# Communicability is the exponential of the adjacency matrix (Estrada and Hatano, 2008). For the block matrix
# it is exact and again block-constant.

communicability = A.expm()
communicability
