"""Any image classifier of torchvision by its name, with random or published weights."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from unsmash.errors import ConfigError, DataError
from unsmash.lab import Lab
from unsmash.models.base import Model
from unsmash.nets import Normalise

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Torchvision(Model):
    """A torchvision classifier; its last layer is renewed when the data has other classes than its weights."""

    kind: Literal["torchvision"] = "torchvision"
    name: str = "resnet18"
    """Name in torchvision.models, such as resnet18 or mobilenet_v3_large"""
    weights: str = ""
    """Published weights, such as DEFAULT or IMAGENET1K_V2; empty starts at random"""

    tiny: ClassVar[dict[str, object]] = {"name": "squeezenet1_1"}

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """The bare classifier; `entry` normalises in front of it and repeats a grey image to three channels.

        Raises:
            ConfigError: no such model or weights, with the nearest names.
            DataError: the weights are not in torch's cache and cannot be downloaded.
        """
        from torchvision import models

        names = models.list_models(module=models)
        if self.name not in names:
            raise ConfigError("model.name", got=self.name, allowed=names)
        # their auxiliary heads give tuples in training, and their initialisation warns unless asked for
        extra = {"init_weights": True, "aux_logits": False} if self.name in ("googlenet", "inception_v3") else {}
        with lab.seeded("init"):
            if not self.weights:
                return models.get_model(self.name, weights=None, num_classes=classes, **extra)
            net = self._with_weights()
            if _outputs(_head(net)[1]) != classes:
                _renew_head(net, classes)
            return net

    def entry(self) -> nn.Module:
        """ImageNet's normalisation, which all of them expect."""
        return Normalise(IMAGENET_MEAN, IMAGENET_STD)

    def recommended_epochs(self) -> int:
        """A few passes of fine-tuning with published weights, more from scratch."""
        return 3 if self.weights else 8

    def _with_weights(self) -> nn.Module:
        from torchvision import models

        kinds = models.get_model_weights(self.name)
        if self.weights not in (*kinds.__members__, "DEFAULT"):
            raise ConfigError("model.weights", got=self.weights, allowed=["DEFAULT", *kinds.__members__])
        try:
            return models.get_model(self.name, weights=self.weights)
        except OSError as error:
            raise DataError(
                f"the weights {self.weights} of {self.name} are not in torch's cache and could not be downloaded "
                f"({error.__class__.__name__}); run once with a network, or leave weights out to start at random"
            ) from None


def _renew_head(net: nn.Module, classes: int) -> None:
    name, last = _head(net)
    parent = net.get_submodule(name.rpartition(".")[0])
    new: nn.Module
    if isinstance(last, nn.Linear):
        new = nn.Linear(last.in_features, classes)
    else:
        new = nn.Conv2d(last.in_channels, classes, last.kernel_size)  # type: ignore[arg-type]
    setattr(parent, name.rpartition(".")[2], new)


def _head(net: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    return [(name, part) for name, part in net.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]


def _outputs(layer: nn.Linear | nn.Conv2d) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
