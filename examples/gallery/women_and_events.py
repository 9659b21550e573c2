"""
Find blocks of rows and columns: women and events
=================================================

The data set records which of eighteen women attended which of fourteen social events in a town in the South of the United
States in the 1930s (Davis, Gardner and Gardner, *Deep South*, 1941). ``cocluster`` finds groups of women and groups of
events together.
"""

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np

import blockmat as bm

graph = nx.davis_southern_women_graph()
women, events = graph.graph["top"], graph.graph["bottom"]
B = nx.algorithms.bipartite.biadjacency_matrix(graph, women, events).toarray()
rows, cols, loss = bm.cocluster(B.astype(float), 2, 3, random_state=0)

figure, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
order = np.ix_(rows.order, cols.order)
axes[0].imshow(B, cmap="Greys")
axes[0].set_title("in the original order")
axes[1].imshow(B[order], cmap="Greys")
axes[1].set_title("sorted by block")
for ax, who, what in (
    (axes[0], women, events),
    (axes[1], np.array(women)[rows.order], np.array(events)[cols.order]),
):
    ax.set_yticks(range(18), [name.split()[0] for name in who])
    ax.set_xticks(range(14), what, rotation=90)
for end in rows.offsets[1:-1]:
    axes[1].axhline(end - 0.5, color="C3")
for end in cols.offsets[1:-1]:
    axes[1].axvline(end - 0.5, color="C3")
plt.show()

# %%
# There are two groups of women. Each group has its own events, and both groups attended the remaining events. The
# values of the :class:`~blockmat.BlockRectangularMatrix` are the shares of women who attended:

A = bm.BlockRectangularMatrix.fit(B.astype(float), rows, cols)
print(A.values.round(2))
print("singular values:", A.svd()[1].round(2))
