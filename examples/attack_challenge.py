"""Attack a challenge folder by ridge regression, without unsmash and without torch.

    unsmash challenge RUN --out challenge
    python examples/attack_challenge.py challenge guesses.safetensors
    unsmash score RUN --guesses guesses.safetensors

It learns the linear map from releases to images on the shadow images, and applies it to the victims' releases.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import RidgeCV

PENALTIES = np.logspace(-5, 1, 7)


def rows(tensors: dict[str, np.ndarray], together: int) -> np.ndarray:
    """Releases as rows [n, groups, d]: every tensor that crosses side by side, so many releases averaged into one."""
    parts = [array.reshape(*array.shape[:2], -1) for name, array in sorted(tensors.items()) if "release" in name]
    wide = np.concatenate(parts, axis=2).astype(np.float64)
    groups = wide.shape[1] // together
    return wide[:, : groups * together].reshape(len(wide), groups, together, -1).mean(axis=2)


def main(folder: Path, answer: Path) -> None:
    """Read a challenge folder, write the guesses."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    seen = manifest["adversary"]["releases_of_each_victim"]
    shadow = load_file(folder / "shadow.safetensors")
    known = rows(shadow, seen)
    victims = rows(load_file(folder / "releases.safetensors"), seen)[:, 0]

    images = shadow["image"].reshape(len(known), -1)
    features = known.reshape(-1, known.shape[2])
    targets = images.repeat(known.shape[1], axis=0)
    # a penalty means the same whatever the scale of the release: it is relative to the features' own size
    size = np.square(features - features.mean(axis=0)).sum(axis=0).mean()
    model = RidgeCV(alphas=PENALTIES * size).fit(features, targets)

    guess = model.predict(victims).clip(0, 1).astype(np.float32)
    shape = manifest["hand_in"]["shape"]
    save_file({manifest["hand_in"]["tensor"]: guess.reshape(shape)}, answer)
    print(f"wrote {answer}: {shape[0]} guesses, penalty {model.alpha_ / size:.1g}")
    print(manifest["hand_in"]["scored_by"])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python attack_challenge.py CHALLENGE_FOLDER GUESSES.safetensors")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
