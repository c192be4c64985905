"""What can be chosen: the cuts of a model, and every component with its settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic_core import PydanticUndefined

from unsmash.component import Component, discover
from unsmash.defences.base import Defence
from unsmash.errors import ConfigError
from unsmash.experiment import FAMILIES
from unsmash.experiment import component as parse
from unsmash.lab import Lab
from unsmash.models.base import Model
from unsmash.report.defences import COSTS
from unsmash.reproductions.systems.base import PACKAGE, Reproduction

SHAPES = {
    "torchvision": (3, 224, 224),
    "own": (3, 224, 224),
    "small_resnet": (3, 64, 64),
    "omniglot_cnn": (1, 105, 105),
}
"""Input that a model's cuts are listed for when no shape is given; the others take 1×28×28"""


def cuts(settings: dict[str, Any], shape: str, classes: int) -> list[dict[str, Any]]:
    """A row for each place where the model may be cut, in the order it runs."""
    import torch

    from unsmash.victim import places

    model = parse(settings, "model", "model")
    assert isinstance(model, Model)
    size = _shape(shape) if shape else SHAPES.get(model.kind, (1, 28, 28))
    net = model.build(size, classes, Lab()).eval()
    example = torch.rand(2, *size, generator=torch.Generator().manual_seed(0))
    return [
        {
            "at": row.name,
            "tensors": row.tensors,
            "shapes": [list(one[1:]) for one in row.shapes],
            "bytes": row.bytes,
            "input_ratio": row.input_ratio,
            "device_macs": row.device_macs,
            "device_parameters": row.device_parameters,
            "also": list(row.aliases),
        }
        for row in places(net, model.entry(), example)
    ]


def kinds(name: str | None) -> list[dict[str, Any]]:
    """Every component, those of one family (in the singular or the plural), or one kind, with each setting's meaning,
    range and default; defences with what is said of them to those who choose.

    Raises:
        ConfigError: no family or kind of that name.
    """
    rows = [
        _describe(family, kind, cls)
        for family, (package, base) in (FAMILIES | {"reproductions": (PACKAGE, Reproduction)}).items()
        for kind, cls in discover(package, base).items()
    ]
    if name is None:
        return rows
    family = name.removesuffix("s")
    chosen = [row for row in rows if name == row["kind"] or family == row["family"].removesuffix("s")]
    if not chosen:
        raise ConfigError("kinds", got=name, allowed=[*FAMILIES, "reproductions", *(row["kind"] for row in rows)])
    return chosen


def _describe(family: str, kind: str, cls: type[Component]) -> dict[str, Any]:
    properties = cls.model_json_schema().get("properties", {})
    fields = [
        {
            "name": name,
            "default": None if field.default is PydanticUndefined else field.default,
            "allowed": _allowed(properties.get(name, {})),
            "help": " ".join((field.description or "").split()),
        }
        for name, field in cls.model_fields.items()
        if name != "kind"
    ]
    row: dict[str, Any] = {"family": family, "kind": kind, "summary": cls.summary(), "settings": fields}
    if family == "attacks":
        row["role"], row["needs"] = cls.role, sorted(cls.needs)  # type: ignore[attr-defined]
    if issubclass(cls, Defence):
        row |= {"source": cls.source, "guarantee": cls.guarantee, "cost": cls.cost, "protects": cls.protects}
    return row


def _allowed(schema: dict[str, Any]) -> str:
    options = schema.get("anyOf", [schema])
    return " or ".join(_range(option) for option in options if option.get("type") != "null") or "any"


def _range(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    low = (
        f"≥ {schema['minimum']:g}"
        if "minimum" in schema
        else (f"> {schema['exclusiveMinimum']:g}" if "exclusiveMinimum" in schema else "")
    )
    high = (
        f"≤ {schema['maximum']:g}"
        if "maximum" in schema
        else (f"< {schema['exclusiveMaximum']:g}" if "exclusiveMaximum" in schema else "")
    )
    return " ".join(part for part in (str(schema.get("type", "any")), low, high) if part)


def print_cuts(rows: Sequence[dict[str, Any]], hidden: int) -> None:
    """A table of cuts."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, justify in (
        ("cut after", "left"),
        ("sends", "left"),
        ("bytes", "right"),
        ("× image", "right"),
        ("device MACs", "right"),
        ("device params", "right"),
    ):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        shapes = " + ".join("×".join(map(str, shape)) for shape in row["shapes"])
        table.add_row(
            row["at"],
            shapes,
            f"{row['bytes']:,}",
            f"{row['input_ratio']:.3g}",
            f"{row['device_macs']:,}",
            f"{row['device_parameters']:,}",
        )
    console = Console()
    console.print(table)
    if hidden:
        console.print(f"{hidden} further places send several tensors: --all lists them.")


def print_kinds(rows: Sequence[dict[str, Any]], detailed: bool) -> None:
    """Components by family, one line each; with every setting when some were asked for."""
    from rich.console import Console

    console, family = Console(highlight=False, soft_wrap=True), ""
    for row in rows:
        if row["family"] != family:
            family = row["family"]
            console.print(f"\n[bold]{family}[/]")
        console.print(f"  [cyan]{row['kind']:<18}[/]", end="")
        console.print(row["summary"] + ("" if detailed else _worth(row)), markup=False)
        for line in _details(row) if detailed else ():
            console.print(f"      {line}", markup=False)


def _worth(row: dict[str, Any]) -> str:
    """What is proved about a defence and what it costs, for its one line."""
    return f" Proved: {row['guarantee']}. Cost: {row['cost']}." if "guarantee" in row else ""


def _details(row: dict[str, Any]) -> Iterator[str]:
    """All that is said of a component under its summary."""
    for name in ("protects", "guarantee", "cost", "source"):
        if row.get(name):
            meaning = f": {COSTS[row[name]]}" if name == "cost" else ""
            yield f"{name}: {row[name]}{meaning}"
    for field in row["settings"]:
        default = "" if field["default"] is None else f" (default {field['default']})"
        yield f"{field['name']}: {field['help']}; {field['allowed']}{default}"
    if row.get("needs"):
        yield f"needs: {', '.join(row['needs'])}"


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ConfigError("--shape", got=text, allowed="channels×height×width, such as 3x224x224")
    return int(parts[0]), int(parts[1]), int(parts[2])
