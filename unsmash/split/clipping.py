"""Each record's own gradient of a split model, by opacus' hooks on its layers; nothing may escape them unnoticed.

Ghost clipping (Li et al., ICLR 2022) finds only the length of each record's gradient, in one pass, and weighs the
records by it in a second one. Where a layer does not allow that, the gradients themselves are made (`hooks`). Before
any training image is used, either is checked against plain autograd on random images.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from unsmash.errors import ConfigError, DependencyError
from unsmash.lab import Lab
from unsmash.split.model import SplitModel

Clipping = Literal["ghost", "hooks"]

ROUNDING = 1e-3
"""Largest difference from autograd's gradient that counts as rounding, as a share of its largest entry"""

ON_PARAMETERS = ("grad_sample", "summed_grad", "_forward_counter", "_current_grad_sample", "_norm_sample")
ON_LAYERS = ("autograd_grad_sample_hooks", "activations", "max_batch_len", "ft_compute_sample_grad")
"""What opacus leaves behind"""


def opacus(part: str) -> Any:
    """A module of opacus, which comes with the extra `dp`.

    Raises:
        DependencyError: it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(f"opacus.{part}")
    except ImportError as error:
        sentence = 'defences: dpsgd needs opacus, which is not here. Install it with: pip install "unsmash[dp]"'
        raise DependencyError(sentence) from error


def reached_parameters(model: SplitModel, x: Tensor, lab: Lab) -> list[nn.Parameter]:
    """The parameters that the loss depends on, on images [n, c, h, w].

    Records must keep to themselves. This sees any smooth way of mixing them, not a path chosen by the whole batch.

    Raises:
        ConfigError: records do not keep to themselves: one's loss depends on another, or a buffer remembers them.
    """
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    parameters = [p for p in model.parameters() if p.requires_grad]
    x, found = x.clone().requires_grad_(), set()
    with lab.seeded("probe"):
        losses = _losses(model, x)
    for i, loss in enumerate(losses):
        towards, *gradients = torch.autograd.grad(loss, [x, *parameters], retain_graph=True, allow_unused=True)
        if towards is not None and towards[torch.arange(len(x)) != i].any():
            raise refusal("it mixes the records of a batch, so that none has a gradient of its own")
        found |= {id(p) for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    changed = [name for name, buffer in model.named_buffers() if differ(buffer, before[name])]
    if changed:
        raise refusal(f"its buffer {changed[0]!r} remembers the records it sees, without noise")
    if not found:
        raise refusal("nothing in it can be trained")
    return [p for p in parameters if id(p) in found]


def choose(model: SplitModel, reached: list[nn.Parameter], x: Tensor, lab: Lab) -> Clipping:
    """The first way of clipping that sees all of every record's gradient.

    Raises:
        ConfigError: neither does.
    """
    refused = refusal("no way of clipping was tried")
    for clipping in get_args(Clipping):
        try:
            with hooked(model, reached, clipping, 1.0) as private, lab.seeded("probe"):
                _demand_all(private, x)
            return clipping
        except ConfigError as error:
            refused = error
        except Exception as error:  # opacus meets what it does not know in many ways, and each of them means no
            refused = refusal(f"opacus cannot follow it ({type(error).__name__}: {' '.join(str(error).split())[:200]})")
    raise refused


@contextlib.contextmanager
def hooked(model: SplitModel, reached: list[nn.Parameter], clipping: Clipping, clip: float) -> Iterator[Any]:
    """The model under opacus' hooks until the end of the block; only these parameters take gradients meanwhile."""
    modules, ghost = opacus("grad_sample"), clipping == "ghost"
    base = modules.GradSampleModuleFastGradientClipping if ghost else modules.GradSampleModule
    options = {"max_grad_norm": clip} if ghost else {}
    mine = {id(p) for p in reached}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in mine]
    try:
        for p in others:
            p.requires_grad_(False)
        yield type("Hooked", (_Hooked, base), {"clipping": clipping})(model, **options)
    finally:
        for p in others:
            p.requires_grad_(True)
        for handle in vars(model).get("autograd_grad_sample_hooks", ()):
            handle.remove()
        for things, traces in ((model.parameters(), ON_PARAMETERS), (model.modules(), ON_LAYERS)):
            for thing in things:
                for name in vars(thing).keys() & set(traces):
                    delattr(thing, name)
        model.zero_grad(set_to_none=True)


def differ(one: Tensor, other: Tensor) -> bool:
    """Whether any number is another one; NaN is NaN."""
    return bool(((one != other) & ((one == one) | (other == other))).any())


def refusal(why: str) -> ConfigError:
    """This network cannot be trained privately."""
    return ConfigError("defences", got="dpsgd", allowed=f"networks that can be trained privately; not this one: {why}")


def _losses(model: nn.Module, x: Tensor) -> Tensor:
    """The loss of each image, under labels that do not matter."""
    logits = model(x)
    labels = torch.arange(len(x), device=x.device) % logits.shape[1]
    return nn.functional.cross_entropy(logits, labels, reduction="none")


def _demand_all(private: Any, x: Tensor) -> None:
    """Nothing of the gradients that plain autograd finds, record by record, may be missing from what the hooks see."""
    named = private.trained()
    losses = _losses(private, x)
    private.disable_hooks()
    each = [torch.autograd.grad(loss, [*named.values()], retain_graph=True, materialize_grads=True) for loss in losses]
    private.enable_hooks()
    losses.mean().backward()
    for name, found, *gradients in zip(named, private.samples(), *each, strict=True):
        wanted = torch.stack(gradients)
        if private.clipping == "ghost":  # which knows lengths only; in double, for float32 loses 1e-3 of a long sum
            wanted = torch.linalg.vector_norm(wanted.flatten(1), dim=1, dtype=torch.float64)
        if found.shape != wanted.shape or (found - wanted).abs().max() > ROUNDING * wanted.abs().max() + 1e-7:
            raise refusal(f"part of the gradient of {name!r} would escape the clip")


class _Hooked(nn.Module):
    """Mixed into opacus' modules: hooks that bear in-place operations and layers of both halves; no silent escapes."""

    clipping: Clipping

    def add_hooks(self, *, loss_reduction: str, batch_first: bool, force_functorch: bool = False) -> None:
        """Hook output tensors; opacus' own module hooks forbid `out += x`, and hook a layer in both halves twice."""
        me: Any = self
        model, prepare = me._module, opacus("grad_sample.functorch").prepare_layer
        model.autograd_grad_sample_hooks = me.autograd_grad_sample_hooks = []

        def after(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            def arrive(gradient: Tensor) -> None:
                me.capture_backprops_hook(layer, None, (gradient,), loss_reduction, batch_first)

            me.capture_activations_hook(layer, inputs, output)
            if output.requires_grad:  # a look without gradients, at images that train nothing, leaves no hook
                output.register_hook(arrive)

        for layer in dict.fromkeys(me.iterate_submodules(model)):
            if type(layer) not in me.GRAD_SAMPLERS:
                prepare(layer, batch_first=batch_first)
            me.autograd_grad_sample_hooks.append(layer.register_forward_hook(after))
        me.enable_hooks()

    def forward(self, x: Tensor) -> Tensor:
        """Logits; forgets the lengths of the batch before, which opacus would take for those of this one."""
        self.records = len(x)
        for p in self.parameters():
            vars(p).pop("_norm_sample", None)
        logits: Tensor = super().forward(x)
        return logits

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that take gradients, by name."""
        named = self.named_parameters()
        return {name.removeprefix("_module."): p for name, p in named if p.requires_grad}

    def samples(self) -> list[Tensor]:
        """For each parameter that is trained, each record's gradient; by ghost clipping, its length.

        Raises:
            ConfigError: a parameter has none for this batch.
        """
        attribute = "_norm_sample" if self.clipping == "ghost" else "grad_sample"
        found: list[Tensor] = []
        for name, p in self.trained().items():
            sample = getattr(p, attribute, None)
            if not isinstance(sample, Tensor) or len(sample) != self.records:
                raise refusal(f"the gradient of {name!r} is not known record by record")
            found.append(sample)
        return found

    def get_clipping_coef(self) -> Tensor:
        """What each record's gradient is shortened by; ghost clipping asks for it between its two passes."""
        self.samples()
        factors: Tensor = super().get_clipping_coef()  # type: ignore[misc]
        return factors
