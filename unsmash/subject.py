"""The record of what was audited: the images, the split network, and the defences at its cut. Plain data, ↔ JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataRecord:
    """Which images were used, and whether the sets are apart."""

    kind: str
    source: str
    """One sentence: where the images came from, what was resized"""
    noun: tuple[str, str]
    """Singular and plural: image, images"""
    input_shape: tuple[int, ...]
    """[c, h, w]"""
    classes: tuple[str, ...]
    sizes: dict[str, int]
    """By set: train, val, shadow, validator, victims"""
    fingerprint: str
    """Digest of every set's pixels and labels"""
    contamination: int = 0
    """Images found in two sets that must be disjoint; above 0 only when the user allowed it"""
    contamination_examples: tuple[str, ...] = ()
    repeats_dropped: int = 0
    near_duplicates: int = 0
    """Victims with a near twin in a set the target or the adversary trains on"""
    near_examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DefenceRecord:
    """A defence that was put at the cut, as it is explained to those who read of it."""

    kind: str
    label: str
    """Its name with the settings that differ from the defaults"""
    protects: str
    """Two sentences: what it protects, and what it does not"""
    guarantee: str
    """What can be proved about it, in a few words"""
    source: str
    """Where the method comes from"""
    cost: str
    """free, training or minutes"""
    when: str
    """always: in training and at inference; inference: put on the trained model"""


@dataclass(frozen=True)
class SplitRecord:
    """The cut: what crosses, and what the device must carry."""

    model: str
    at: str
    shapes: tuple[tuple[int, ...], ...]
    """Shape of each crossing tensor for one image"""
    bytes_sent: int
    """Bytes a sample as transmitted (float32 unless a defence says otherwise)"""
    bytes_input: int
    """Bytes of the raw 8-bit image"""
    device_parameters: int
    server_parameters: int
    device_macs: int
    """Multiply-adds on the device for one image, defences included"""
    defences: tuple[str, ...] = ()
    """Labels in order"""
    whole_macs: int = 0
    """Multiply-adds of the whole network for one image: what answering on the device would take"""
    stochastic: bool = False
    earlier: str = ""
    """The next shallower place where one other tensor crosses; empty when there is none"""
    later: str = ""
    """The next deeper one"""
    notes: tuple[str, ...] = ()
    armed: tuple[DefenceRecord, ...] = ()
    """The defences in order, explained"""
