"""What tables are made of: columns that fit the terminal, and figures as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP = 2  # between columns
# Columns that give way, and how narrow they become before the table is given up; so does the first column.
NARROWEST = {"what it is": 12, "waits most for": 10, "tiles": 7}
NARROWEST_TEXT = 12


@dataclass(frozen=True)
class Column:
    """narrowest: its texts are folded where the terminal is narrow, down to this width; None for never.

    right: it holds numbers.
    """

    head: str
    narrowest: int | None = None
    right: bool = False


@dataclass(frozen=True)
class FittingTable:
    """A table; where the terminal is too narrow for it, a paragraph for each row, so that no figure is cut."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._narrowest() <= options.max_width:
            yield self._table()
        else:
            yield from self._paragraphs()

    def _narrowest(self) -> int:
        """The width at which every column still shows its figures."""
        heads = tuple(column.head for column in self.columns)
        widths = [max(map(_width, texts)) for texts in zip(heads, *self.rows, strict=True)]
        least = [min(width, column.narrowest or width) for column, width in zip(self.columns, widths, strict=True)]
        return sum(least) + GAP * (len(least) - 1)

    def _table(self) -> Table:
        style = {"title_justify": "left", "title_style": "bold", "header_style": "dim"}
        table = Table(title=self.title, box=None, pad_edge=False, **style)  # type: ignore[arg-type]
        for column in self.columns:
            justify = "right" if column.right else "left"
            table.add_column(column.head, justify=justify, overflow="fold", no_wrap=column.narrowest is None)  # type: ignore[arg-type]
        for row in self.rows:
            table.add_row(*row)
        return table

    def _paragraphs(self) -> Iterable[Text | Padding]:
        """The first cell on a line, and below it the others, each after its column's head."""
        if self.title:
            yield Text(self.title, "bold", no_wrap=False)
        heads = [column.head.replace("\n", " ") for column in self.columns[1:]]
        for name, *cells in self.rows:
            yield Text(name, no_wrap=False, overflow="fold")
            figures = [f"{head} {cell}" for head, cell in zip(heads, cells, strict=True) if cell]
            yield Padding(Text(", ".join(figures), no_wrap=False, overflow="fold"), (0, 0, 0, 2), expand=False)


def _width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def table(title: str, texts: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[str]]) -> FittingTable:
    """Texts, then numbers."""
    first, *others = texts
    columns = (
        Column(first, NARROWEST_TEXT),
        *(Column(head, NARROWEST.get(head)) for head in others),
        *(Column(head, NARROWEST.get(head), right=True) for head in numbers),
    )
    return FittingTable(title, columns, tuple(map(tuple, rows)))


def text_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> FittingTable:
    """Texts, all of which give way where the terminal is narrow."""
    return FittingTable(title, tuple(Column(head, NARROWEST_TEXT) for head in heads), tuple(map(tuple, rows)))


def percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%}"


def several(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def count(number: float) -> str:
    """A large number with three digits and its power of a thousand."""
    for power in ("", "k", "M"):
        if number < 999.5:
            return f"{number:.3g}{power and ' '}{power}"
        number /= 1000
    return f"{number:.3g} G"
