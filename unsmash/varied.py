"""Settings as dotted paths, and which of them differ between experiments. Plain data, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def flat(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """Every single setting by its dotted path, the seed left out.

    >>> flat({"at": "fc", "defences": [{"kind": "laplace", "scale": 1.0}], "seed": 3})
    {'at': 'fc', 'defences.0.kind': 'laplace', 'defences.0.scale': 1.0}
    """
    return dict(_leaves({key: value for key, value in experiment.items() if key != "seed"}, ""))


def varied(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Paths at which experiments that have the setting differ, in the order they first stand.

    A setting that some lack and the others agree on is not among them: it comes with a component that only some have.

    >>> varied([{"at": "fc"}, {"at": "code", "defences.0.scale": 1.0}])
    ['at']
    """
    seen: dict[str, set[str]] = {}
    for one in settings:
        for path, value in one.items():
            seen.setdefault(path, set()).add(json.dumps(value))
    return [path for path, values in seen.items() if len(values) > 1]


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        pairs = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [(str(place), inner) for place, inner in enumerate(value)]
    else:
        return [(path, value)]
    return [leaf for key, inner in pairs for leaf in _leaves(inner, f"{path}.{key}" if path else key)]
