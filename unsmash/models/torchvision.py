"""Any image classifier of torchvision by its name: random weights, published ones, or a state dict in a file.

A file comes from three lines of Python:

    from torchvision import models
    from safetensors.torch import save_file
    save_file(models.mobilenet_v3_large(weights="DEFAULT").state_dict(), "mobilenet.safetensors")
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import nn

from unsmash import last_layer, state_file
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
    """Published weights, such as DEFAULT or IMAGENET1K_V2, or a file of this network's state dict, net.safetensors;
    empty starts at random"""

    tiny: ClassVar[dict[str, object]] = {"name": "squeezenet1_1"}

    def build(self, input_shape: tuple[int, ...], classes: int, lab: Lab) -> nn.Module:
        """The bare classifier; `entry` normalises in front of it and repeats a grey image to three channels.

        Raises:
            ConfigError: no such model or weights, with the nearest names; a file that cannot be read or holds another
                network, with the first difference; images of a size that these weights do not take.
            DataError: the weights are not in torch's cache and cannot be downloaded.
        """
        from torchvision import models

        names = models.list_models(module=models)
        if self.name not in names:
            raise ConfigError("model.name", got=self.name, allowed=names)
        with lab.seeded("init"):
            if self.weights and not state_file.is_file(self.weights):
                net = self._published()
                self._require_side(net, input_shape)
                name, head = last_layer.find(net)
                if last_layer.answers(head) != classes:
                    last_layer.renew(net, name, classes)
                return net
            net = models.get_model(self.name, weights=None, num_classes=classes, **self._extra(input_shape))
            if self.weights:
                size = "×".join(map(str, input_shape[-2:]))
                what = f"torchvision's {self.name}, here for images of {size}"
                state_file.fill(net, self.weights, "model.weights", head=last_layer.find(net)[0], what=what)
            return net

    def entry(self) -> nn.Module:
        """ImageNet's normalisation, which all of them expect."""
        return Normalise(IMAGENET_MEAN, IMAGENET_STD)

    def recommended_epochs(self) -> int:
        """A few passes of fine-tuning with published weights, more from scratch."""
        return 3 if self.weights else 8

    def given(self) -> bool:
        """Published weights, and a file's."""
        return bool(self.weights)

    def remarks(self, net: nn.Module) -> tuple[str, ...]:
        """That the last layer is fresh, where it is."""
        if not self.weights:
            return ()
        name, head = last_layer.find(net)
        mine, classes = {key: tuple(value.shape) for key, value in net.state_dict().items()}, last_layer.answers(head)
        if not state_file.is_file(self.weights):
            known = len(_published_weights(self.name, self.weights).meta["categories"])
            told = f"answer for {known} classes" if known != classes else ""
        else:
            found = state_file.shapes(self.weights, "model.weights")
            theirs = found.get(f"{name}.weight", (0,))[0]
            told = f"answer for {theirs} classes" if theirs else "hold no last layer"
            told = told if state_file.fresh(found, mine, name) else ""
        if not told:
            return ()
        return (f"The weights given {told} and the data has {classes}: the last layer, {name}, started fresh.",)

    def _extra(self, input_shape: tuple[int, ...]) -> dict[str, Any]:
        """What some of them must be told besides their classes."""
        if self.name in ("googlenet", "inception_v3"):
            # their auxiliary heads give tuples in training, and their initialisation warns unless asked for
            return {"init_weights": True, "aux_logits": False}
        if self.name.startswith("vit_"):
            side, patch = input_shape[-1], int(self.name.rpartition("_")[2])
            if input_shape[-2] != side or side % patch:
                size, allowed = f"{input_shape[-2]}×{side}", f"square images of a multiple of {patch} pixels"
                raise ConfigError("model.name", got=self.name, allowed=f"{allowed}; these are {size}")
            return {"image_size": side}
        return {}

    def _published(self) -> nn.Module:
        from torchvision import models

        _published_weights(self.name, self.weights)
        try:
            return models.get_model(self.name, weights=self.weights)
        except OSError as error:
            raise DataError(
                f"the weights {self.weights} of {self.name} are not in torch's cache and could not be downloaded "
                f"({error.__class__.__name__}); run once with a network, give a file of them (weights=net.safetensors, "
                "written where there is a network), or leave weights out to start at random"
            ) from None

    def _require_side(self, net: nn.Module, input_shape: tuple[int, ...]) -> None:
        side = getattr(net, "image_size", None)
        if isinstance(side, int) and tuple(input_shape[-2:]) != (side, side):
            size = f"{input_shape[-2]}×{input_shape[-1]}"
            allowed = f"images of {side}×{side}, which {self.name} was published for; these are {size}"
            raise ConfigError("model.weights", got=self.weights, allowed=allowed)


def _published_weights(name: str, weights: str) -> Any:
    """The published weights of that name, with what is known of them; nothing is downloaded."""
    from torchvision import models

    kinds = models.get_model_weights(name)
    if weights not in (*kinds.__members__, "DEFAULT"):
        allowed = ["DEFAULT", *kinds.__members__]
        raise ConfigError("model.weights", got=weights, allowed=allowed, hint="Or a file: net.safetensors")
    return kinds[weights]
