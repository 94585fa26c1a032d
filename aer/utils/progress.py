"""Progress bars: tqdm's on a terminal, fastprogress's in a notebook, none elsewhere (files, pipes, a cluster's log)."""

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


class ProgressBar:
    """A context manager that shows how much of `total` units of work is done, and the rate.

    `label` says what the work is. Counts of a `scaled` unit (bytes) are shown as k, M, G. The bar goes away when it is
    closed, unless it is to `stay`. With `shown=False` it stays hidden on a terminal and in a notebook too.
    """

    def __init__(
        self, total: float, label: str, unit: str, *, scaled: bool = False, stay: bool = False, shown: bool = True
    ) -> None:
        self.total = total
        self.n: float = 0
        self._notebook_bar = _NotebookBar(total, label, stay) if shown and total and _in_notebook() else None
        # None: hidden where stderr is no terminal
        disable = None if shown and self._notebook_bar is None else True
        self._terminal_bar: Any = tqdm(
            total=total, desc=label, unit=unit, unit_scale=scaled, leave=stay, disable=disable
        )

    def update(self, n: float) -> None:
        """Count `n` more units as done."""
        self.n += n
        self._terminal_bar.update(n)
        if self._notebook_bar is not None:
            self._notebook_bar.show(self.n)

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Show `text` behind the figures: at once, or with the next update."""
        self._terminal_bar.set_postfix_str(text, refresh=refresh)
        if self._notebook_bar is not None:
            self._notebook_bar.set_postfix(text)

    def close(self) -> None:
        """Leave the bar as it is, or remove it; a second time changes nothing."""
        self._terminal_bar.close()
        if self._notebook_bar is not None:
            self._notebook_bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _NotebookBar:
    """A bar of fastprogress, which takes what is done in all, and has one comment for label and postfix."""

    def __init__(self, total: float, label: str, stay: bool) -> None:
        from fastprogress.fastprogress import NBProgressBar

        self._label = label
        self._is_open = True
        self._bar = NBProgressBar(None, total=round(total), leave=stay, comment=label)
        self._bar.update(0)

    def show(self, n: float) -> None:
        # a file may grow while it is read, and fastprogress would begin anew beyond the total
        if self._is_open:
            done = min(round(n), self._bar.total)
            self._is_open = done < self._bar.total
            self._bar.update(done)

    def set_postfix(self, text: str) -> None:
        self._bar.comment = f"{self._label}, {text}"

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._bar.on_iter_end()


def track(items: Iterable[Item], total: int, label: str, unit: str = "it", *, shown: bool = True) -> Iterator[Item]:
    """Yield the items (`total` of them) under a progress bar that goes away at their end."""
    with ProgressBar(total, label, unit, shown=shown) as bar:
        for item in items:
            yield item
            bar.update(1)


def write_line(text: str) -> None:
    """Print a line to stdout, above the bars that are on the terminal."""
    tqdm.write(text)


def _in_notebook() -> bool:
    """Tell whether a notebook's kernel runs this process. Without IPython in it, fastprogress is not even imported."""
    if "IPython" not in sys.modules:
        return False
    from fastprogress.core import IN_NOTEBOOK

    return bool(IN_NOTEBOOK)
