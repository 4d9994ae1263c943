"""The subject tree: every subject that has events, and every ancestor of one, is a node.

Nodes are numbered in the order of their appearance, so that a parent's number is always lower
than its children's, and the subjects of any earlier head are the first so many nodes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from everlog.domain.subject import ROOT, parent
from everlog.storage.log.columns import Column, Vector


class SubjectTree:
    """Names and numbers of subjects, with the latest event and the event count of each.

    `latest` holds positions plus one, 0 where the subject itself has no event.
    """

    def __init__(self, parents: Column) -> None:
        """Start empty."""
        self.ids: dict[str, int] = {}
        self.names: list[str] = []
        self.parents = parents
        self.latest = Vector("Q")
        self.event_counts = Vector("I")

    def load(
        self,
        names: list[str],
        *,
        latest: npt.NDArray[np.uint64],
        event_counts: npt.NDArray[np.int64],
    ) -> None:
        """Take over the nodes of a snapshot; the parents are in their column already."""
        self.names = names
        self.ids = dict(zip(names, range(len(names)), strict=True))
        self.latest.load(latest)
        self.event_counts.load(event_counts)

    def add(self, subject: str) -> int:
        """Add a subject that is not there, with its missing ancestors, and return its number.

        Raises:
            DiskFullError: There is no room; ancestors may have been added.
        """
        missing = [subject]
        above = parent(subject)
        while above is not None and above not in self.ids:
            missing.append(above)
            above = parent(above)
        count = len(self.names) + len(missing)
        for cells in (self.parents, self.latest, self.event_counts):
            cells.reserve(count)
        above_id = 0 if above is None else self.ids[above]
        for name in reversed(missing):
            node = len(self.names)
            self.parents.cells[node] = above_id
            self.latest.cells[node] = 0
            self.event_counts.cells[node] = 0
            self.names.append(name)
            self.ids[name] = node
            above_id = node
        return above_id

    def truncate(self, count: int) -> None:
        """Forget all but the first so many nodes."""
        for name in self.names[count:]:
            # Without a number where there was no memory for it.
            self.ids.pop(name, None)
        del self.names[count:]

    def find(self, subject: str, *, count: int) -> int | None:
        """Return a subject's number if it is among the first so many."""
        node = self.ids.get(subject)
        return node if node is not None and node < count else None

    def subtree(self, node: int, *, count: int) -> npt.NDArray[Any]:
        """Return the numbers of a node and all below it, ascending, among the first so many."""
        if self.names[node] == ROOT:
            return np.arange(count)
        # Nothing below a node has a lower number.
        parents = self.parents.view(count)[node:]
        is_member = np.zeros(count, np.bool_)
        is_member[node] = True
        children = np.flatnonzero(parents == node) + node
        while len(children) > 0:
            is_member[children] = True
            is_frontier = np.zeros(count, np.bool_)
            is_frontier[children] = True
            children = np.flatnonzero(is_frontier[parents]) + node
        return np.flatnonzero(is_member)
