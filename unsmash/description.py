"""What is told of a victim: its images, what crosses its cut, what the device must carry, where else it can be cut."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from unsmash.data.base import Splits
from unsmash.errors import CutError
from unsmash.experiment import Experiment
from unsmash.split import Shield, Smashed
from unsmash.subject import DataRecord, DefenceRecord, SplitRecord
from unsmash.victim import Victim, crossing, place_of, places


def describe(victim: Victim, experiment: Experiment, splits: Splits) -> SplitRecord:
    """What crosses the cut and what the device must carry."""
    z = crossing(victim.model, splits)
    shapes = tuple(tuple(part.shape[1:]) for part in z)
    shield = copy.deepcopy(victim.model.shield).cpu()
    earlier, later = neighbours(victim, experiment.at, splits)
    return SplitRecord(
        earlier=earlier,
        later=later,
        model=experiment.model.label(),
        at=experiment.at,
        shapes=shapes,
        bytes_sent=_bytes(shield, z),
        bytes_input=splits.train.pixels[0].numel(),
        device_parameters=sum(parameter.numel() for parameter in victim.model.device_parameters()),
        server_parameters=sum(parameter.numel() for parameter in victim.model.server_parameters()),
        device_macs=macs(victim.model.release, splits.train.pixels[:1].to(place_of(victim.model))),
        whole_macs=macs(victim.model, splits.train.pixels[:1].to(place_of(victim.model))),
        defences=tuple(defence.label() for defence in experiment.defences),
        stochastic=victim.model.shield.stochastic,
        notes=victim.model.notes,
        armed=tuple(
            DefenceRecord(one.kind, one.label(), one.protects, one.guarantee, one.source, one.cost, one.when)
            for one in experiment.defences
        ),
    )


def neighbours(victim: Victim, at: str, splits: Splits) -> tuple[str, str]:
    """The next shallower and the next deeper place where one tensor of another size crosses, logits left out."""
    try:
        rows = places(victim.net, victim.entry, splits.train.pixels[:2])
    except CutError:  # a forward that branches on data can be cut, though not listed
        return "", ""
    here = next((index for index, row in enumerate(rows) if at in (row.name, *row.aliases)), None)
    if here is None:
        return "", ""
    others = [(index, row) for index, row in enumerate(rows[:-1]) if row.single and row.bytes != rows[here].bytes]
    before = [row.name for index, row in others if index < here and row.device_parameters]
    after = [row.name for index, row in others if index > here]
    return (before[-1] if before else ""), (after[0] if after else "")


def macs(forward: Callable[[Tensor], object], image: Tensor) -> int:
    """Multiply-adds of one forward pass, half the floating-point operations that torch counts."""
    from torch.utils.flop_counter import FlopCounterMode

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused attention path is not counted
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            forward(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops()) // 2


def _bytes(shield: Shield, z: Smashed) -> int:
    """Bytes of one sample's release, as the defences send it."""
    before = float(sum(part[0].numel() * part.element_size() * 8 for part in z))
    with torch.no_grad():
        return math.ceil(shield.wire_bits(before, z, shield.quiet(z)) / 8)


def data_record(experiment: Experiment, splits: Splits) -> DataRecord:
    """Which images were used, as a record tells it."""
    report = splits.report
    return DataRecord(
        kind=experiment.data.kind,
        source=report.source,
        noun=splits.noun,
        input_shape=tuple(splits.input_shape),
        classes=tuple(splits.classes),
        sizes=dict(report.sizes),
        fingerprint=report.fingerprint,
        contamination=report.contamination,
        contamination_examples=tuple(report.contamination_examples),
        repeats_dropped=report.repeats_dropped,
        near_duplicates=report.near_duplicates,
        near_examples=tuple(report.near_examples),
        notes=tuple(report.notes),
    )
