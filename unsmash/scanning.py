"""The scan: every cut of one undefended network, side by side. What `unsmash scan` and `unsmash.scan()` both call.

The network is trained once, or taken as it is; what it computes at all cuts comes from one forward pass over the
victims and one over the adversary's images. Each cut is then attacked by ridge and a short decoder on a share of the
adversary's images, fewer where more crosses: a scan points at the cut to audit, it does not replace the audit.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsmash import budget as budgets
from unsmash import experiment as experiments
from unsmash import report
from unsmash.auditing import gathered, load, save_pictures, still, working_device
from unsmash.cut_choice import choose
from unsmash.environment import describe as describe_machine
from unsmash.errors import ConfigError
from unsmash.events import Event, Sink, silent
from unsmash.experiment import Experiment, Study, digest
from unsmash.lab import Lab
from unsmash.models.base import state_digest
from unsmash.probing import Prober, settled
from unsmash.report.words import duration
from unsmash.scan_record import VERSION, Scan
from unsmash.scan_record import load as read
from unsmash.scan_verdict import exit_code, judged
from unsmash.store import PICTURES, Store, write_record, write_text
from unsmash.victim import build, places, prepare

if TYPE_CHECKING:
    from torch import nn

    from unsmash.data.base import Splits
    from unsmash.split import Candidate

FOLDER, PAGE, RECORD = "scans", "scan.html", "scan.json"

QUICK_EPOCHS = 2


@dataclass(frozen=True)
class Scanned:
    """What a scan found, and where its page lies."""

    scan: Scan
    folder: Path

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.folder / PAGE

    @property
    def exit_code(self) -> int:
        """What a gate should return: 0 where a cut is within the budget, 1 where all are over it, else 3."""
        return exit_code(self.scan)


def scan(
    *,
    data: str | Mapping[str, Any] | None = None,
    model: str | Mapping[str, Any] | nn.Module | None = None,
    cuts: Sequence[str] = (),
    out: str | Path = "runs",
    quick: bool = False,
    progress: Sink = silent,
    **settings: Any,
) -> Scanned:
    """Scan the cuts of a network: train or take it, measure what each cut sends and gives away, and write the page.

    `data` and `model` are as for `unsmash.audit`; `cuts` names layers, else places spread over the network's depth are
    taken. Other settings are `train`, `seed`, `fail_if`, `device`, `root`, `allow_contamination`, `again`, `images`.

    >>> found = scan(data="digits", model="small_resnet")                                      # doctest: +SKIP
    >>> [(cut.name, cut.word) for cut in found.scan.cuts], found.report                        # doctest: +SKIP
    """
    names = ("device", "root", "allow_contamination", "again", "images", "command")
    options = {name: settings.pop(name) for name in names if name in settings}
    raw, module = gathered(data, model, "", settings)
    plan = planned(raw, quick=quick, trusted=True)
    return conduct(plan, cuts, out=Path(out), quick=quick, progress=progress, module=module, **options)


def planned(raw: Mapping[str, Any], *, quick: bool = False, trusted: bool = False) -> Study:
    """What is scanned, from plain data.

    Raises:
        ConfigError: the first thing that is wrong; a scan has no defences, attacks or adversaries to choose.
    """
    raw = {name: value for name, value in raw.items() if value not in ("", None)}
    for name in ("defences", "attacks", "threats", "at"):
        if name in raw:
            hint = (
                "A scan tries the undefended network's cuts by fixed attacks; `unsmash audit` takes one cut as you say"
            )
            hint += ", `unsmash scan --cut LAYER` chooses the cuts" if name == "at" else ""
            raise ConfigError(name, got=raw[name], allowed="data, model, train, seed and fail_if", hint=hint)
    model = raw.get("model")
    own = isinstance(model, Mapping) and model.get("kind") == "own"
    if quick and not own:
        raw["train"] = {"epochs": QUICK_EPOCHS} | dict(raw.get("train", {}))
    study = experiments.study(raw, trusted=trusted)
    if len(study.seeds) > 1:
        hint = "Audit the cut it points at with several"
        raise ConfigError("seeds", got=list(study.seeds), allowed="one seed for a scan", hint=hint)
    return study


def conduct(
    study: Study,
    cuts: Sequence[str] = (),
    *,
    out: Path,
    quick: bool = False,
    progress: Sink = silent,
    module: nn.Module | None = None,
    device: str = "auto",
    root: Path | None = None,
    allow_contamination: bool = False,
    again: bool = False,
    images: bool = True,
    command: str = "",
) -> Scanned:
    """Carry out a scan: taken from the store where it is known, else measured; judged and written either way.

    Raises:
        UnsmashError: what stopped it. Nothing half-measured is kept but the trained network.
    """
    budgets.parse(study.fail_if)
    lab = Lab(device=working_device(device), sink=progress, seed=study.seeds[0])
    experiment = study.experiments()[0]
    splits = load(experiment.data, lab, root=root, allow_contamination=allow_contamination)
    net = build(experiment, splits, lab, module=module)
    rows, left_out, control = choose(places(net, experiment.model.entry(), splits.train.pixels[:2]), cuts)
    own = module is not None or experiment.model.given()
    name = _id(experiment, [row.name for row in rows], quick, splits, state_digest(net) if own else "")
    store = Store(out / FOLDER)
    known = store.folder(name) / RECORD
    if known.is_file() and not again:
        lab.emit("note", "store", f"scan {name} is known: taken from {store.folder(name)}")
        return _judged(read(known.read_text(encoding="utf-8")), store, study.fail_if, images=images)
    with still():
        made, arrays = _measure(experiment, rows, splits, lab, out, module, quick=quick, control=control)
    made = replace(made, id=name, left_out=left_out, command=command, flags=flags(experiment))
    with store.writing(name) as folder:
        write_text(folder / "experiment.yaml", experiments.to_yaml(experiment))
        save_pictures(folder / PICTURES, arrays)
        write_record(folder / RECORD, made)
    return _judged(made, store, study.fail_if, images=images)


def _id(experiment: Experiment, names: list[str], quick: bool, splits: Splits, weights: str) -> str:
    tried = settled(quick=quick)
    parts = [experiment.canonical(), experiment.id, names, tried, splits.report.fingerprint, weights, VERSION]
    return digest(parts)[:12]


def flags(experiment: Experiment) -> tuple[str, ...]:
    """Data, model, training and seed as the command line takes them, where they differ from what it takes itself."""
    words: list[str] = []
    for family, part in (("data", experiment.data), ("model", experiment.model)):
        plain = part.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
        if part.kind == "own":
            head, plain = f"{plain.pop('path', 'path.py')}:{plain.pop('factory', 'factory')}", plain
            words += [f"--{family}", ",".join([head, *_pairs(plain)])]
        else:
            words += [f"--{family}", part.kind + (f":{','.join(_pairs(plain))}" if plain else "")]
    for name, value in experiment.train.model_dump(mode="json", exclude_defaults=True).items():
        words += ["--set", f"train.{name}={value}"]
    return (*words, *(["--set", f"seed={experiment.seed}"] if experiment.seed else []))


def _pairs(plain: Mapping[str, Any]) -> list[str]:
    return [f"{name}={json.dumps(value) if isinstance(value, list | dict) else value}" for name, value in plain.items()]


def _judged(made: Scan, store: Store, budget: str, *, images: bool) -> Scanned:
    """The scan's folder with this budget's verdicts and page."""
    made = judged(made, budget)
    folder = store.folder(made.id)
    write_record(folder / RECORD, made)
    write_text(folder / PAGE, report.render_scan(made, folder, images=images))
    return Scanned(made, folder)


def _measure(
    experiment: Experiment,
    rows: Sequence[Candidate],
    splits: Splits,
    lab: Lab,
    out: Path,
    module: nn.Module | None,
    *,
    quick: bool,
    control: bool,
) -> tuple[Scan, dict[str, Any]]:
    """Train or take the network, then try every cut."""
    started, begun = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.perf_counter()
    seconds: dict[str, float] = {}
    with lab.stage("victim") as told:
        first = experiment.model_copy(update={"at": rows[0].name})
        victim = prepare(first, splits, lab, Store(out).cache, module=module)
        prober = Prober(experiment, victim, splits, lab, quick=quick)
        accuracy = prober.utility.accuracy
        told["say"] = "from the cache" if victim.cached else ""
        if accuracy is not None:
            told["say"] = f"{told['say']}, accuracy {accuracy.mean:.1%}".lstrip(", ")
    seconds["victim"] = time.perf_counter() - begun
    cuts = []
    for number, cut in enumerate(prober.cuts(rows), 1):
        cuts.append(replace(cut, control=control and number == 1))
        left = prober.left(rows[number:])
        told_left = f"; about {duration(left)} left" if number < len(rows) else ""
        lab.sink(Event("finding", cut.name, f"{number} of {len(rows)}{told_left}"))
    seconds |= {cut.name: cut.seconds for cut in cuts} | {"total": time.perf_counter() - begun}
    shown, arrays = prober.pictures(cuts)
    plain = experiment.model_dump(mode="json", exclude={"at", "attacks", "threats", "defences"})
    made = prober.record(cuts, plain)
    return replace(
        made, pictures=shown, started=started, seconds=seconds, environment=describe_machine(lab.device), quick=quick
    ), arrays


def summary(found: Scanned) -> dict[str, Any]:
    """A scan as one JSON document."""
    from unsmash.report.scan_findings import recommendation
    from unsmash.scan_verdict import knee

    best = knee(found.scan)
    return asdict(found.scan) | {
        "recommendation": recommendation(found.scan),
        "recommended": best.name if best is not None else None,
        "exit_code": found.exit_code,
        "report": str(found.report),
    }
