"""VariableNames: the names of the variables of data that arrive in parts."""

from collections import Counter
from collections.abc import Mapping
from numbers import Integral
from typing import Any, NamedTuple

from blockmat.blocks.names import is_series, names_of
from blockmat.exceptions import PartitionError, PartitionMismatchError


class VariableNames(NamedTuple):
    """Names of variables in their order, from labels or from the first data that have names.

    The names 0 to n - 1, the default of pandas, count as none beside names that are no integers.

    Parameters
    ----------
    names : list, shape (n,), optional
        The names; None if they are not known.
    owner : str
        What has them, for messages.
    in_order : str
        The expression for the names in their order, for messages.
    without : str
        The expression for labels without names, for messages, if the labels have names. Then all
        data need names.
    """

    names: list[Any] | None = None
    owner: str = "the data before"
    in_order: str = "columns"
    without: str = ""

    @classmethod
    def of(cls, labels: Any, **numbers: Any) -> "VariableNames":
        """Return the names of labels, or of the first of several numbers that is a Series."""
        if isinstance(labels, Mapping):
            return cls(list(labels), "the labels", "list(labels)", "list(labels.values())")
        if is_series(labels):
            names = list(labels.index)
            without = "" if _is_default(names) else "labels.to_numpy()"
            return cls(names, "the labels", "labels.index", without)
        for name, each in numbers.items():
            if is_series(each):
                return cls(list(each.index), name, f"{name}.index")
        return cls()

    def joined(self, names: list[Any] | None, name: str) -> "VariableNames":
        """Check the names of data, which have this `name`, and return all that is known.

        Raises
        ------
        PartitionError
            If the labels have names, and the data have none.
        PartitionMismatchError
            If the data have other names, or the same in another order.
        """
        if names is None or self.names == names:
            if names is None and self.without:
                raise PartitionError(
                    f"{name} has no names, and the labels have; expected {self.without} in the order "
                    f"of the columns, or a DataFrame or Series with names as {name}"
                )
            return self
        if self.names is None or (not self.without and _is_default(self.names, names)):
            return VariableNames(names)
        if not self.without and _is_default(names, self.names):
            return self
        if Counter(names) == Counter(self.names):
            raise PartitionMismatchError(
                f"{name} has its variables in another order than {self.owner}; expected "
                f"{name}[{self.in_order}]"
            )
        raise PartitionMismatchError(
            f"{name} has other variables than {self.owner}; expected the same names in the same order"
        )


def names_of_data(data: Any) -> list[Any] | None:
    """Return the names of the columns of a DataFrame or the index of a Series, or None.

    A Series with the index 0 to n - 1 has no names.
    """
    if is_series(data):
        names = list(data.index)
        return None if _is_default(names) else names
    return names_of(data, 1)


def _is_default(names: list[Any], others: list[Any] | None = None) -> bool:
    """Whether names are 0 to n - 1, and the others are not all integers."""
    if names != list(range(len(names))):
        return False
    return others is None or not all(isinstance(x, Integral) for x in others)
