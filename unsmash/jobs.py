"""From a study's variants to the jobs that measure them: images loaded, networks tried, run ids known beforehand."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsmash import budget, variants
from unsmash.auditing import identity, load
from unsmash.data.base import Splits
from unsmash.errors import ConfigError, UnsmashError
from unsmash.execute import Job
from unsmash.lab import Lab
from unsmash.variants import Plan, Variant
from unsmash.victim import build, split

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Prepared:
    """A study ready to be carried out: everything that can be wrong with it has been tried."""

    plan: Plan
    images: dict[str, Splits]
    """By the variant's name"""
    ids: dict[str, tuple[str, ...]]
    """The runs that each variant makes, one a seed"""

    def job(self, variant: Variant, options: dict[str, Any]) -> Job:
        """One variant as plain data."""
        study = variant.study
        plain = study.experiment.model_dump(mode="json")
        plain |= {"seeds": list(study.seeds), "fail_if": study.fail_if, "name": variant.name}
        alone = options | {"command": alone_command(self.plan)}
        return Job(variant.name, plain, alone, variants.trainings(study), self.ids[variant.name])


def prepare(
    plan: Plan,
    lab: Lab,
    *,
    root: Path | None = None,
    allow_contamination: bool = False,
    module: nn.Module | None = None,
) -> Prepared:
    """Load the images, build and cut every variant's network once, and name the runs.

    Raises:
        UnsmashError: images are missing, or a network cannot be built or cut; the sentence names the variant.
    """
    pools: dict[str, Splits] = {}
    for variant in plan.variants:
        data = variant.study.experiment.data
        name = data.model_dump_json()
        if name not in pools:
            pools[name] = load(data, lab, root=root, allow_contamination=allow_contamination)
    images = {one.name: pools[one.study.experiment.data.model_dump_json()] for one in plan.variants}
    with lab.stage("variants") as told:
        _rehearse(plan, images, lab, module)
        told["say"] = f"{len(plan.variants)} can be built and cut"
    ids = {
        variant.name: tuple(identity(one, images[variant.name], lab, module) for one in variant.study.experiments())
        for variant in plan.variants
    }
    return Prepared(plan, images, ids)


def _rehearse(plan: Plan, images: Mapping[str, Splits], lab: Lab, module: nn.Module | None) -> None:
    """Build and cut every variant's network once, so that a layer that is not there is told before anything trains."""
    done: set[str] = set()
    for variant in plan.variants:
        e, splits = variant.study.experiment, images[variant.name]
        kinds = [defence.kind for defence in e.defences]
        key = f"{e.data.model_dump_json()} {e.model.model_dump_json()} {e.at} {kinds}"
        if key in done:
            continue
        done.add(key)
        try:
            net, _ = e.adapted(build(e, splits, lab, module=module))
            split(net, e.model.entry(), e.at, splits)
        except ConfigError as error:
            place = f"{variant.name}: {error.path}"
            raise ConfigError(place, got=error.got, allowed=error.allowed, hint=error.hint) from None
        except UnsmashError as error:
            raise UnsmashError(f"{variant.name}: {error}") from None


def alone_command(plan: Plan) -> str:
    """The command that audits one variant by itself, in its run's folder."""
    words = ["unsmash", "audit", "experiment.yaml"]
    if len(plan.seeds) > 1 and plan.seeds == tuple(range(len(plan.seeds))):
        words += ["--seeds", str(len(plan.seeds))]
    if plan.budget != budget.DEFAULT:
        words += ["--fail-if", plan.budget]
    return shlex.join(words)
