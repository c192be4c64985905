"""Scans of real networks: one pass for all cuts, the figures of an audit, and a recommendation that claims no more."""

from __future__ import annotations

import functools
import itertools
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scans
import torch
from small import TINY, pictures
from torch import Tensor, nn

import unsmash
from unsmash import probes, probing, scan_record, scanning
from unsmash.activations import collect, same
from unsmash.cut_choice import MOST, choose
from unsmash.errors import ConfigError, CutError, RecordError, UnsmashError
from unsmash.lab import Lab
from unsmash.payload import ENDS, Payload
from unsmash.plain import dumps
from unsmash.report.scan_findings import command, lines, recommendation
from unsmash.scan_verdict import doubted, exit_code, judged, knee, strongest
from unsmash.scanning import Scanned
from unsmash.split import candidates, cut

SEEN: list[int] = []
"""Images in each pass of `Chain`'s first layer"""


class Stem(nn.Conv2d):
    """Counts what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, torch.fx.Proxy):
            SEEN.append(len(x))
        return super().forward(x)


class Block(nn.Module):
    """Two convolutions around which the input is carried; writes into what it is given, as resnets do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn(self.conv(x))
        out += x
        return self.relu(out)


class Chain(nn.Module):
    """A small residual network for 8×8 grey images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem(1, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.block = Block(6)
        self.pool = nn.MaxPool2d(2)
        self.flat = nn.Flatten()
        self.code = nn.Linear(96, 24)
        self.last = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        z = self.pool(self.block(self.act(self.bn(self.stem(x)))))
        return self.last(torch.tanh(self.code(self.flat(z))))


def chain() -> Chain:
    with Lab(seed=4).seeded("chain"):
        net = Chain().eval()
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean = torch.rand(layer.num_features) - 0.5
    return net


def scanned(out: Path, **more: Any) -> Scanned:
    return unsmash.scan(data=TINY, model=more.pop("model", None) or chain(), out=out, device="cpu", **more)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scanned, list[int]]:
    """One scan, and what its network's first layer was given; not to be changed."""
    SEEN.clear()
    found = scanned(tmp_path_factory.mktemp("scan"))
    return found, list(SEEN)


# -- activations ------------------------------------------------------------------------------------------------------


def test_collected_activations_are_to_the_bit_what_each_cut_sends() -> None:
    net, images = chain(), pictures((1, 8, 8), 70)[0]
    rows = [row for row in candidates(net, images[:2]) if row.single]
    names = [row.name for row in rows]
    assert {"bn", "act", "block", "pool", "code"} <= set(names)
    found = collect(net, None, images, dict.fromkeys(names, 70), Lab(), batch=32)
    for name in names:
        device = cut(net, name, images[:2]).eval().device
        with torch.no_grad():
            sent = torch.cat([device(part) for part in images.split(32)])
        assert torch.equal(found[name], sent), name


def test_each_layer_keeps_as_many_images_as_it_is_asked_for() -> None:
    net, images = chain(), pictures((1, 8, 8), 70)[0]
    whole = collect(net, None, images, {"pool": 70, "code": 70}, Lab(), batch=32)
    few = collect(net, None, images, {"pool": 5, "code": 40}, Lab(), batch=32)
    assert torch.equal(few["pool"], whole["pool"][:5])
    assert torch.equal(few["code"], whole["code"][:40])


def test_layers_that_run_twice_or_give_no_tensor_are_left_out() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.pair, self.once = nn.Linear(64, 64), nn.LSTM(64, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.once(self.pair(self.twice(self.twice(x.flatten(1))))[0])

    images = pictures((1, 8, 8), 10)[0]
    assert set(collect(Odd(), None, images, {"twice": 10, "pair": 10, "once": 10}, Lab())) == {"once"}


def test_the_adversarys_images_run_through_the_network_once(once: tuple[Scanned, list[int]]) -> None:
    found, seen = once
    assert len(found.scan.cuts) > 2
    assert seen.count(TINY["shadow"]) == 1  # type: ignore[arg-type]
    assert not [size for size in seen if size > TINY["shadow"]]  # type: ignore[operator]


def test_cuts_that_do_not_fit_together_take_turns_and_give_the_same_figures(
    once: tuple[Scanned, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "Prober", functools.partial(probing.Prober, memory=1))
    apart = scanned(tmp_path).scan
    assert any(f"{len(apart.cuts)} times" in note for note in apart.notes)
    assert replace(apart, notes=once[0].scan.notes).digest() == once[0].scan.digest()


def test_what_does_not_agree_with_the_cut_is_made_by_the_device_half(
    once: tuple[Scanned, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "same", lambda found, sent: False)
    alone = scanned(tmp_path).scan
    assert len(alone.notes) == len(alone.cuts)
    assert replace(alone, notes=once[0].scan.notes).digest() == once[0].scan.digest()
    assert not same(torch.zeros(2, 3), (torch.zeros(2, 3), torch.zeros(2)))


# -- figures ----------------------------------------------------------------------------------------------------------


def test_figures_are_those_of_an_audit_at_the_same_cut_with_the_same_attacks(
    once: tuple[Scanned, list[int]], tmp_path: Path, short_recogniser: None
) -> None:
    chosen = once[0].scan.cuts[-1]
    tried = [one.model_dump() for one in probes.attacks(chosen.images)]
    audited = unsmash.audit(
        data=TINY, model=chain(), at=chosen.name, attacks=[*tried, "gallery"], out=tmp_path, device="cpu"
    ).runs[0]
    assert audited.split is not None
    assert audited.utility is not None
    assert (audited.split.bytes_sent, audited.split.shapes) == (chosen.bytes_raw, (chosen.shape,))
    assert (audited.split.device_macs, audited.split.device_parameters) == (
        chosen.device_macs,
        chosen.device_parameters,
    )
    assert audited.dependence["dcor"].mean == chosen.dependence
    assert audited.utility == once[0].scan.utility
    for mine in chosen.results:
        other = audited.result(mine.name)
        assert mine.ranks == other.ranks
        for metric, score in mine.scores.items():
            assert replace(other.scores[metric], values=()) == score, (mine.name, metric)
    for floor in once[0].scan.floors:
        assert floor.mean("identification") == audited.result(floor.name).mean("identification")


def test_codes_are_within_half_a_step_and_packed_without_loss() -> None:
    z = torch.randn(7, 3, 5, 5, generator=torch.Generator().manual_seed(1)) * 40
    z[3] = 2.5  # all the same
    made = Payload.of(z)
    rows = z.flatten(1)
    reach = (rows.amax(1) - rows.amin(1))[:, None] / 255 / 2
    assert ((made.values() - rows).abs() <= reach * (1 + 1e-4) + 1e-5).all()
    assert (made.raw, made.quantised) == (75 * 4, 75 + ENDS)
    packed = [len(zlib.compress(bytes(row.tolist()), 9)) + ENDS for row in made.codes]
    assert made.compressed() == pytest.approx(sum(packed) / 7)
    assert made.found(z).mean == 1.0


def test_the_candidate_list_is_measured_and_not_assumed(tmp_path: Path) -> None:
    class Blind(nn.Module):
        """Its second layer forgets everything: all victims send the same."""

        def __init__(self) -> None:
            super().__init__()
            self.flat, self.see, self.forget = nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 12)
            self.last = nn.Linear(12, 10)
            nn.init.zeros_(self.forget.weight)
            nn.init.eye_(self.see.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.forget(self.see(self.flat(x))))

    open_, blind = scanned(tmp_path, model=Blind().eval()).scan.cuts
    assert (open_.name, blind.name) == ("see", "forget")
    for share in (open_.result("gallery").scores["identification"], open_.quantised):  # type: ignore[union-attr]
        assert share.mean == 1.0
    for share in (blind.result("gallery").scores["identification"], blind.quantised):  # type: ignore[union-attr]
        assert share.mean == pytest.approx(1 / 40)
    best = strongest(blind)
    assert best is not None
    assert best.scores["identification"].mean <= 1 / 40 + 1e-9


@pytest.mark.parametrize(("numbers", "pixels", "own"), [(16384, 12288, 3000), (10**6, 150_000, 3000), (64, 64, 30)])
def test_fewer_images_are_learned_from_where_more_crosses(numbers: int, pixels: int, own: int) -> None:
    images = probes.affordable(numbers, pixels, own)
    assert images <= min(own, probes.IMAGES)
    assert images <= probes.FEWEST or images**2 * (numbers + 2 * pixels) <= probes.WORK
    assert probes.affordable(numbers, pixels, own, quick=True) <= images
    assert probes.affordable(2 * numbers, pixels, own) <= images


# -- which cuts -------------------------------------------------------------------------------------------------------


def test_of_places_with_the_same_work_the_one_that_sends_least_is_tried() -> None:
    rows = candidates(chain(), torch.rand(2, 1, 8, 8))
    chosen, left_out, control = choose(rows)
    assert not control
    assert [row.device_macs for row in chosen] == sorted({row.device_macs for row in chosen})
    for row in chosen:
        rivals = [one for one in rows[:-1] if one.single and one.device_macs == row.device_macs]
        assert row.bytes == min(one.bytes for one in rivals)
    assert {"stem", "bn"} <= set(left_out)
    assert rows[-1].name not in left_out + tuple(row.name for row in chosen)


def test_many_places_are_thinned_out_evenly() -> None:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(30):
        layers += [nn.Linear(64, 64)]
    chosen, left_out, _ = choose(candidates(nn.Sequential(*layers), torch.rand(2, 1, 8, 8)))
    names = [int(row.name) for row in chosen]
    assert len(names) == MOST
    assert (names[0], names[-1]) == (1, 29)
    assert max(b - a for a, b in itertools.pairwise(names)) <= 3
    assert len(left_out) == 29 - MOST


def test_named_cuts_bring_the_shallowest_as_a_control() -> None:
    rows = candidates(chain(), torch.rand(2, 1, 8, 8))
    chosen, left_out, control = choose(rows, ["code", "block.relu"])
    assert ([row.name for row in chosen], control, left_out) == (["act", "block", "code"], True, ())
    chosen, _, control = choose(rows, ["stem", "code"])
    assert ([row.name for row in chosen], control) == (["stem", "code"], False)


@pytest.mark.parametrize(
    ("name", "said"),
    [("blok", "block"), ("block.conv", "sends 2 tensors"), ("nothing_like_it", "stem"), ("last.x", "no place")],
)
def test_a_wrong_name_is_one_sentence_with_the_near_ones(name: str, said: str) -> None:
    with pytest.raises(CutError) as error:
        choose(candidates(chain(), torch.rand(2, 1, 8, 8)), [name])
    assert said in str(error.value)
    assert repr(name) in str(error.value)
    assert "unsmash cuts" in str(error.value)


def test_a_network_without_learned_layers_cannot_be_scanned(tmp_path: Path) -> None:
    with pytest.raises(CutError, match="no place to cut"):
        scanned(tmp_path, model=nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Identity()).eval())
    assert not (tmp_path / "scans").exists()


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"defences": ["laplace"]}, "defences"),
        ({"attacks": ["ridge"]}, "attacks"),
        ({"seeds": 3}, "seeds"),
        ({"fail_if": "leak>1"}, "fail-if"),
        ({"nonsense": 1}, "study"),
    ],
)
def test_what_a_scan_does_not_take_is_refused(settings: dict[str, Any], where: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        scanned(tmp_path, **settings)
    assert error.value.path == where
    with pytest.raises(ConfigError, match="--cut"):
        scanning.planned({"data": TINY, "model": "shallow_net", "at": "fc"})


# -- the record and the store -----------------------------------------------------------------------------------------


def test_the_record_reads_back_whole(once: tuple[Scanned, list[int]]) -> None:
    text = (once[0].folder / scanning.RECORD).read_text(encoding="utf-8")
    assert scan_record.load(text) == once[0].scan
    assert scan_record.load(dumps(once[0].scan)) == once[0].scan
    raw = json.loads(text)
    for broken in (text[:-9], "[]", json.dumps(raw | {"version": 99}), json.dumps(raw | {"more": 1})):
        with pytest.raises(RecordError):
            scan_record.load(broken)


def test_a_known_scan_is_taken_from_its_folder_and_judged_anew(
    once: tuple[Scanned, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = once[0].folder.parent.parent
    monkeypatch.setattr(scanning, "Prober", None)  # nothing can be measured
    again = scanned(out)
    assert again.scan == once[0].scan
    other = scanned(out, fail_if="identification>0.99")
    assert other.folder == once[0].folder
    assert other.scan.budget == "identification>0.99"
    assert other.scan.digest() == judged(once[0].scan, "identification>0.99").digest()
    scanned(out)  # as it was


def test_the_same_scan_gives_the_same_figures(once: tuple[Scanned, list[int]], tmp_path: Path) -> None:
    again = scanned(tmp_path)
    assert again.scan.id == once[0].scan.id
    assert again.scan.digest() == once[0].scan.digest()
    assert scanned(tmp_path, seed=1).scan.digest() != once[0].scan.digest()


def test_nothing_half_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any) -> None:
        raise UnsmashError("stopped")

    monkeypatch.setattr(probing, "device_latency", stop)
    with pytest.raises(UnsmashError, match="stopped"):
        scanned(tmp_path)
    assert not list(tmp_path.glob("scans/*"))


# -- verdicts ---------------------------------------------------------------------------------------------------------

CASES: list[tuple[str, scan_record.Scan, str | None, int, str]] = [
    ("falls below the limit", scans.falling(500, 400, 9, 5), "layer2", 0, "Audit next, cut after layer2: 9 of 500"),
    ("every cut leaks", scans.falling(500, 400, 300), None, 1, "Every cut leaks, all three: 300 of 500 faces"),
    ("only one", scans.falling(500), None, 1, "The only cut leaks: 500 of 500"),
    ("too close to tell", scans.falling(500, 400, 24), None, 3, "No cut is shown to stay within your limit"),
    ("a deeper cut gives away more", scans.falling(500, 5, 300), None, 3, "No cut is shown"),
    ("passes again behind it", scans.falling(500, 5, 300, 5), "layer3", 0, "Audit next, cut after layer3"),
    ("attacks that fail at the control", scans.falling(200, 5, 4), None, 3, "the attack failed even where it should"),
    ("no attack reached anything", scans.falling(3, 2, 2), None, 3, "No cut is shown"),
    ("bytes are limited as well", scans.falling(500, 9, 8, budget="identification>0.05 or bytes>5000"), "layer2", 0,
     "Audit next, cut after layer2"),
    ("within the limit, too dear", scans.falling(500, 9, 8, budget="identification>0.05 or accuracy<0.99"), None, 1,
     "No cut is within the whole budget"),
    ("control alone is no candidate", scans.scan([scans.cut(0, 490, 500, control=True), scans.cut(1, 5, 6)]), "layer1",
     0, "Audit next, cut after layer1: 6 of 500"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "scan", "best", "code", "said"), CASES, ids=[case[0] for case in CASES])
def test_the_recommendation_claims_what_the_figures_carry(
    name: str, scan: scan_record.Scan, best: str | None, code: int, said: str
) -> None:
    found = knee(scan)
    assert (found.name if found else None) == best
    assert exit_code(scan) == code
    told = recommendation(scan)
    assert said in told
    whole = " ".join([told, *lines(scan)])
    assert "clears nothing" in whole
    assert not [word for word in ("safe", "secure", "guarantee") if word in whole.lower()]
    assert ("--defence" in command(scan)) == (best is None)
    assert command(scan).startswith("unsmash audit --data faces --model torchvision:name=resnet18 --at layer")


def test_a_low_share_before_a_cut_that_leaks_is_said_to_be_weakness() -> None:
    scan = scans.falling(500, 5, 300, 4)
    assert [one.name for one in doubted(scan)] == ["layer1"]
    assert any("layer1" in line and "attacks are weak there" in line for line in lines(scan))


def test_an_attack_that_does_worse_than_ridge_is_not_counted() -> None:
    weak = scans.cut(1, 5, 9)
    weak = replace(weak, results=(weak.results[0], replace(scans.result("decoder", 9, beats_ridge=False)),
                                  weak.results[2]))  # fmt: skip
    scan = scans.scan([scans.cut(0, 490, 500), weak])
    assert scan.cuts[1].word == "inconclusive"
    best = strongest(scan.cuts[1])
    assert best is not None
    assert best.name == "ridge"


def test_judging_twice_is_judging_once() -> None:
    scan = scans.falling(500, 5, 3)
    assert judged(judged(scan, "identification>0.5"), scan.budget) == scan


def test_an_unfinished_attack_gives_no_pass() -> None:
    broken = replace(scans.result("decoder", 0), failure="RuntimeError: no", scores={}, ranks=())
    deep = scans.cut(1, 5, 5)
    scan = scans.scan([scans.cut(0, 490, 500), replace(deep, results=(deep.results[0], broken, deep.results[2]))])
    assert (scan.cuts[1].word, knee(scan)) == ("inconclusive", None)


# -- the command line -------------------------------------------------------------------------------------------------


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from unsmash import cli

    monkeypatch.chdir(tmp_path)
    small = "digits:" + ",".join(f"{name}={value}" for name, value in TINY.items() if name != "kind")
    words = ["unsmash", "scan", "--data", small, "--model", "splitnn", "--cut", "code", "--quick"]
    monkeypatch.setattr("sys.argv", [*words, "--json", "--no-images"])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    document = json.loads(capsys.readouterr().out)
    assert leaving.value.code == 0
    assert [(one["name"], one["control"]) for one in document["cuts"]] == [("relu1", True), ("code", False)]
    assert document["recommendation"]
    assert (document["flags"][:4], document["quick"]) == (["--data", small, "--model", "splitnn"], True)
    assert "data:image/jpeg" not in Path(document["report"]).read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", [*words, "--fail-if", "identification>0.01"])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    out = capsys.readouterr().out
    stored = scan_record.load(next(tmp_path.glob("runs/scans/*/scan.json")).read_text(encoding="utf-8"))
    assert stored.budget == "identification>0.01"
    assert leaving.value.code == exit_code(stored) == 1  # 40 digits from a code of 500 numbers
    assert "relu1" in out
    assert "clears nothing" in out
    monkeypatch.setattr("sys.argv", ["unsmash", "scan", "--data", small, "--model", "splitnn", "--cut", "cde"])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 2
    assert "code" in capsys.readouterr().err
