"""Tables of figures as plain text."""

from __future__ import annotations

from collections.abc import Mapping

Rows = Mapping[str, Mapping[str, float]]


def table(title: str, rows: Rows, *, mean: bool = True, digits: int = 3) -> str:
    """Rows of named figures in columns, with their means below."""
    columns = list(next(iter(rows.values())))
    wide = max(len(name) for name in (*rows, title, "mean"))
    lines = [" ".join([f"{title:{wide}}", *(f"{column:>10}" for column in columns)])]
    rows = dict(rows)
    if mean and len(rows) > 1:
        rows["mean"] = {c: sum(row[c] for row in rows.values()) / len(rows) for c in columns}
    for name, row in rows.items():
        figures = (f"{row[c]:{max(10, len(c))}.{digits}f}" for c in columns)
        lines.append(" ".join([f"{name:{wide}}", *figures]))
    return "\n".join(lines)
