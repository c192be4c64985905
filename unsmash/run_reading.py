"""Run records read from their JSON: whole, or only the figures that tables and frontiers need."""

from __future__ import annotations

import json
from typing import Any

from unsmash.errors import RecordError
from unsmash.plain import build, not_json
from unsmash.records import VERSION, Run


def load_run(text: str) -> Run:
    """Read a run record.

    Raises:
        RecordError: not JSON, not a run, or written by a version this one does not know.
    """
    return build(Run, _parsed(text))


def load_figures(text: str) -> Run:
    """Read a run record without what is kept for single victims, trainings and pictures: several times as fast.

    Raises:
        RecordError: not JSON, not a run, or written by a version this one does not know.
    """
    raw = {
        name: value for name, value in _parsed(text).items() if name not in ("curves", "maps", "pictures", "classes")
    }
    utility = raw.get("utility") or {}
    results = [one for one in raw.get("results", ()) if isinstance(one, dict)]
    for holder in (*(one.get("scores") for one in results), raw.get("dependence"), utility, utility.get("questions")):
        for score in holder.values() if isinstance(holder, dict) else ():
            if isinstance(score, dict):
                score.pop("values", None)
    for one in results:
        one.pop("ranks", None)
    return build(Run, raw)


def _parsed(text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text, parse_constant=not_json)
    except ValueError as error:
        raise RecordError(f"the run record is not JSON ({error}); was the file edited or cut short?") from None
    if not isinstance(raw, dict) or "version" not in raw:
        raise RecordError("the file is not a run record: it has no version")
    if raw["version"] != VERSION:
        raise RecordError(f"the run record has version {raw['version']!r}; this unsmash reads version {VERSION}")
    return raw
