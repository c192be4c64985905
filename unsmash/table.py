"""Stored runs as one tidy table, for notebooks and spreadsheets: a row for each run, result and metric. No torch.

pandas is not asked for by name among what unsmash needs: mlxtend, which is, brings it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsmash import studies
from unsmash.errors import ConfigError, DependencyError, RecordError
from unsmash.index import summaries
from unsmash.store import RUN, Store
from unsmash.summary import FIGURE, Summary
from unsmash.varied import varied

if TYPE_CHECKING:
    from pandas import DataFrame

FIXED = ("run", "verdict", "data", "model", "cut", "defences", "seed")
"""Columns that every table begins with; what varies follows, then what was measured"""


def runs(out: str | Path = "runs", *, only: Sequence[str] = (), study: str = "") -> DataFrame:
    """Every figure of the stored runs as a tidy data frame: one row for each run × result × metric.

    Columns: `run` its id, `verdict`, `data`, `model`, `cut`, `defences` (labels, joined), `seed`; every setting that
    differs between these runs under its dotted path, `defences.0.scale`; then `threat`, `attack`, `role` (floor,
    attack, ceiling, cost, run), `metric`, `value`, `low` and `high` (95 % interval), `n`, `unit`, `valid`, `strong`
    (the attack's card), `failure`. Rows of role `cost` hold accuracy, bytes and work; what did not finish has a row
    with the sentence that says why.

    Args:
        out: the folder of runs.
        only: ids of runs, or beginnings of them; all where none are named.
        study: id, name or folder of a study; its runs only, with the column `variant`.

    Raises:
        RecordError: a run or study is not there, or cannot be read.
        DependencyError: pandas is not installed.
    """
    out = Path(out)
    variants: dict[str, str] = {}
    if study:
        record, folder = studies.find(study, out)
        out = out if (out / studies.FOLDER / folder.name).is_dir() else folder.parent.parent
        variants = {run: row.name for row in record.rows for run in row.runs}
    store = Store(out)
    chosen = {store.find(run) for run in only} or set(variants) or None
    found = [one for one in summaries(store) if chosen is None or one.id in chosen]
    if study and len(found) < len(variants):
        raise RecordError(f"{len(variants) - len(found)} runs of the study {study!r} are not in {out}; sweep it again")
    return _frame(found, variants)


def export(given: Sequence[str], out: Path, target: Path) -> int:
    """Write a table of runs as CSV or Parquet, by the name's ending; the number of its rows.

    `given` are run ids, folders of runs or one study; all of `out` where there are none.

    Raises:
        ConfigError: another ending, or runs of several folders.
        DependencyError: what writes Parquet is not installed.
    """
    if target.suffix not in (".csv", ".parquet"):
        raise ConfigError("--to", got=str(target), allowed="a file that ends with .csv or .parquet")
    made = _asked(given, out)
    if target.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            sentence = "--to: Parquet needs pyarrow, which is not installed. Install it with: pip install pyarrow"
            raise DependencyError(sentence) from error
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".csv":
            made.to_csv(partial, index=False)
        else:
            made.to_parquet(partial, index=False)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return len(made)


def _asked(given: Sequence[str], out: Path) -> DataFrame:
    """The table of what was named on the command line."""
    if not given:
        return runs(out)
    store, folders = Store(out), [Path(one) for one in given]
    if all((folder / RUN).is_file() for folder in folders):
        homes = {folder.resolve().parent for folder in folders}
        if len(homes) > 1:
            raise ConfigError("RUNS", got=", ".join(given), allowed="runs of one folder")
        return runs(homes.pop(), only=[folder.resolve().name for folder in folders])
    if len(given) == 1:
        if folders[0].is_dir() and Store(folders[0]).folders():
            return runs(folders[0])
        if not any(one.name.startswith(given[0]) for one in store.folders()):
            return runs(out, study=given[0])
    return runs(out, only=given)


def _frame(found: Sequence[Summary], variants: Mapping[str, str]) -> DataFrame:
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise DependencyError("pandas is not installed here. Install it with: pip install pandas") from error
    paths = [path for path in varied([one.settings for one in found]) if path not in ("at", "data.kind")]
    named = ("variant",) if variants else ()
    columns: dict[str, list[Any]] = {name: [] for name in (*FIXED, *named, *paths, *FIGURE)}
    for one in found:
        fixed = [one.id, one.verdict, one.data, one.model, one.at, " + ".join(one.defences), one.seed]
        lead = [*fixed, *(variants[one.id] for _ in named), *(_cell(one.settings.get(path)) for path in paths)]
        for name, value in zip(columns, lead, strict=False):
            columns[name] += [value] * len(one.figures)
        for place, name in enumerate(FIGURE):
            columns[name] += [figure[place] for figure in one.figures]
    made = DataFrame(columns)
    kinds = {"value": "float64", "low": "float64", "high": "float64", "n": "Int64"}
    return made.astype(kinds | {"valid": "boolean", "strong": "boolean"})


def _cell(value: Any) -> Any:
    """A setting as a table can hold it."""
    return value if value is None or isinstance(value, str | int | float) else str(value)
