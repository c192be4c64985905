"""A hundred faces and a hundred patches that are none, which come with scikit-image: colourless, tiny, no network."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch

from unsmash.data.base import Count, Data, Pool, Pools


class LfwSubset(Data):
    """100 faces of Labeled Faces in the Wild and 100 patches of background, 25×25 grey: which are faces."""

    kind: Literal["lfw_subset"] = "lfw_subset"
    usual_model: ClassVar = "splitnn"
    noun: ClassVar = ("image", "images")
    tiny: ClassVar = {"train": 40, "shadow": 40, "validator": 20, "val": 20, "victims": 20}

    train: Count = 60
    """Images that train the target"""

    shadow: Count = 60
    """Images of the adversary's own"""

    validator: Count = 24
    """Images that train the independent recogniser"""

    val: Count = 20
    """Held-out images for the target's accuracy"""

    victims: Count = 36
    """Held-out images that are attacked"""

    def pools(self, root: Path) -> Pools:
        """All 200 patches; scikit-image has them as floats in [0,1], brought to 8 bits here."""
        from skimage.data import lfw_subset

        patches = torch.from_numpy(lfw_subset())
        pool = Pool(
            pixels=(patches * 255).round().to(torch.uint8).unsqueeze(1),
            labels=(torch.arange(len(patches)) < 100).to(torch.int64),
            names=[f"scikit-image patch {index}" for index in range(len(patches))],
        )
        return Pools(
            classes=("no face", "face"),
            source="100 faces of Labeled Faces in the Wild and 100 patches without one, as packaged by scikit-image "
            "(25×25 grey, rounded to 8 bits)",
            common=pool,
        )
