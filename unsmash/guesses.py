"""What each attack answered for every victim, as it was scored: `guesses.safetensors` in a run's folder.

One tensor an attack, by the result's name: images float32 [n, c, h, w] in [0, 1], or the likelihood table of an
identity attack, float64 [n, N] over the candidate list. Victims stand in the run's order. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unsmash.errors import ConfigError, RecordError
from unsmash.store import GUESSES, write_bytes

HANDED_IN = "guess"
"""The tensor's name in a file that somebody else hands in"""

FLOATS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
"""Types that guesses of others may have, as safetensors calls them"""


def save(folder: Path, guesses: Mapping[str, np.ndarray]) -> None:
    """Write a run's guesses into its folder, which is not yet anybody else's to read."""
    write(folder / GUESSES, guesses)


def write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by their names, atomically. Who may read the folder may read it: safetensors keeps it private."""
    from safetensors.numpy import save

    write_bytes(file, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def load(folder: Path) -> dict[str, np.ndarray]:
    """A run's guesses by the result's name.

    Raises:
        RecordError: the run keeps none, or the file cannot be read.
    """
    file = folder / GUESSES
    if not file.is_file():
        hint = f"`unsmash audit {folder / 'experiment.yaml'} --again` measures it anew and keeps them"
        raise RecordError(f"run {folder.name} keeps no guesses, an earlier unsmash made it: {hint}")
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(str(file))
    except (SafetensorError, OSError) as error:
        raise RecordError(f"{file} cannot be read ({error}); was it edited or cut short?") from None


def handed_in(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Somebody else's guesses at a run's victims: the tensor `guess`, float32 of that shape [n, c, h, w] in [0, 1].

    Raises:
        ConfigError: the file, its tensor's name, type or shape, or a value is not what can be scored.
    """
    if not file.is_file():
        raise ConfigError("--guesses", got=str(file), allowed="a safetensors file that exists")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="np") as opened:
            names = list(opened.keys())
            if HANDED_IN not in names:
                hint = f"Name the tensor {HANDED_IN!r}"
                raise ConfigError("--guesses", got=", ".join(names) or "no tensor", allowed=[HANDED_IN], hint=hint)
            part = opened.get_slice(HANDED_IN)
            kind, found = part.get_dtype(), tuple(part.get_shape())
            _require_form(kind, found, shape)
            guess: np.ndarray = opened.get_tensor(HANDED_IN).astype(np.float32)
    except (SafetensorError, OSError) as error:
        raise ConfigError("--guesses", got=str(file), allowed="a safetensors file", hint=f"{error}") from None
    _require_values(guess)
    return guess


def _require_form(kind: str, found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if kind not in FLOATS:
        hint = "Divide 8-bit pixels by 255 and store them as float32" if kind == "U8" else "Store it as float32"
        raise ConfigError("--guesses", got=f"{HANDED_IN} of type {kind}", allowed="F32 (or F16, F64)", hint=hint)
    if found != shape:
        allowed = f"{list(shape)}: one image [c, h, w] for each victim, in the order of the releases"
        raise ConfigError("--guesses", got=f"{HANDED_IN} of shape {list(found)}", allowed=allowed)


def _require_values(guess: np.ndarray) -> None:
    bad = int((~np.isfinite(guess)).sum())
    if bad:
        hint = "Give every victim a guess, if only the mean image"
        raise ConfigError(
            "--guesses", got=f"{bad:,} values that are NaN or infinite", allowed="finite numbers", hint=hint
        )
    low, high = float(guess.min()), float(guess.max())
    if low < 0 or high > 1:
        hint = "Undo your normalisation, then clip" if high < 64 else "Divide by 255, then clip"
        raise ConfigError("--guesses", got=f"values from {low:.4g} to {high:.4g}", allowed="[0, 1]", hint=hint)
