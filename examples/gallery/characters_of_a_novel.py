"""
Find blocks in a network: characters of a novel
===============================================

The network has 77 characters of *Les Misérables*. The weight of two characters is the number of chapters in which both
appear (Knuth, *The Stanford GraphBase*, 1993). ``find_partition`` finds characters with similar neighbours. The matrix
exponential measures how well two characters communicate over paths of any length.
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
L = W / np.outer(roots, roots)  # so that the degrees do not define blocks
p = bm.find_partition(L, 7)
for number, members in enumerate(p):
    busiest = members[np.argsort(-roots[members])]
    print(
        f"{number}:", ", ".join(names[busiest][:6]), "..." if len(members) > 6 else ""
    )

# %%
# Plot the network and the matrix. The positions of the characters depend only on the weights, not on the blocks.

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
# Communicability is the exponential of the adjacency matrix (Estrada and Hatano, 2008). For the block-constant matrix
# the result is exact, and it is block-constant too.

communicability = A.expm()
communicability
