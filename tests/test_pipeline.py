"""One experiment from images to run record."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import pytest
import torch
from small import TINY
from torch import Tensor

from unsmash import controls, pipeline
from unsmash.attacks.base import Attack
from unsmash.attacks.ridge import Ridge
from unsmash.component import discover
from unsmash.data.base import Images, Splits
from unsmash.data.digits import Digits
from unsmash.defences.gaussian import GaussianShield
from unsmash.errors import BoundError, ConfigError, UnsmashError
from unsmash.events import Event
from unsmash.experiment import DEFAULT_ATTACKS, Experiment, study
from unsmash.judge import judge
from unsmash.lab import Lab
from unsmash.pipeline import Measured
from unsmash.records import Result, Run
from unsmash.split import Shield
from unsmash.victim import prepare
from unsmash.view import View

pytestmark = pytest.mark.usefixtures("short_recogniser")

RIDGE: list[Any] = [{"kind": "ridge"}, {"kind": "gallery"}]


def experiment(**settings: Any) -> Experiment:
    raw = {"data": TINY, "model": "shallow_net", "train": {"epochs": 2}, "attacks": RIDGE}
    return study(raw | settings).experiment


def measure(one: Experiment, splits: Splits, **options: Any) -> Measured:
    return pipeline.run(one, splits, options.pop("lab", Lab(seed=one.seed)), name="name", **options)


def run_of(one: Experiment, splits: Splits, **options: Any) -> Run:
    return measure(one, splits, **options).run


ALONE = """
import sys, json
from pathlib import Path
import torch
torch.set_num_threads(1)
import unsmash.recogniser
unsmash.recogniser.STEPS = 12
from unsmash import pipeline
from unsmash.experiment import study
from unsmash.lab import Lab
one = study(json.loads(sys.argv[1])).experiment
print(pipeline.run(one, one.data.load(Path()), Lab(seed=one.seed), name="name").run.digest())
"""


def test_the_same_experiment_gives_the_same_bits(plain: Experiment, digits: Splits) -> None:
    """In one process whatever went before, and in another process with another hash seed."""
    noisy = plain.model_copy(update={"defences": experiment(defences=[{"kind": "laplace", "scale": 0.3}]).defences})
    torch.manual_seed(1)
    first = measure(noisy, digits)
    torch.manual_seed(2)
    torch.rand(3)
    second = measure(noisy, digits)
    assert first.run.digest() == second.run.digest()
    assert first.arrays.keys() == second.arrays.keys()
    assert all((first.arrays[name] == second.arrays[name]).all() for name in first.arrays)
    words = [sys.executable, "-c", ALONE, json.dumps(noisy.model_dump(mode="json"))]
    alone = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "77"})
    assert alone.stdout.strip() == first.run.digest(), alone.stderr


def test_a_digest_is_of_what_was_measured_only(plain: Experiment, digits: Splits) -> None:
    run = run_of(experiment(), digits)
    elsewhere = dataclasses.replace(run, seconds={}, started="then", environment={}, command="x", latency_ms=())
    assert elsewhere.digest() == run.digest()
    assert dataclasses.replace(run, seed=1).digest() != run.digest()


def test_seeds_vary_the_training_and_the_noise_and_never_the_victims(digits: Splits) -> None:
    one = experiment(defences=[{"kind": "gaussian", "sigma": 0.2}])
    first, second = (run_of(one.model_copy(update={"seed": seed}), digits) for seed in (0, 1))
    assert first.digest() != second.digest()
    assert first.data == second.data
    assert first.data is not None
    assert first.data.fingerprint == one.data.load(Path()).report.fingerprint
    assert first.result("ridge").scores["mse"] != second.result("ridge").scores["mse"]
    # what sees no release answers the same for every seed, if it draws nothing itself
    assert first.result("mean_image").scores["mse"] == second.result("mean_image").scores["mse"]


def test_a_victim_is_trained_once(digits: Splits, tmp_path: Path) -> None:
    """Its cache knows what the weights depend on: not the attacks, nor the cut of an undefended model."""
    base = experiment()
    first = prepare(base, digits, Lab(), tmp_path)
    assert not first.cached

    def cached(**settings: Any) -> bool:
        one = experiment(**settings)
        again = prepare(one, digits, Lab(seed=one.seed), tmp_path)
        if again.cached:
            mine, other = first.net.state_dict(), again.net.state_dict()
            assert all(torch.equal(mine[name], other[name]) for name in mine)
        return again.cached

    assert cached()
    assert cached(attacks=[{"kind": "lookalike"}])
    assert cached(at="fc1")
    assert not cached(seed=1)
    assert not cached(train={"epochs": 1})
    assert not cached(train={"epochs": 2, "rate": 1e-3})


def train_there(cache: Path, passes: SimpleQueue[list[int]]) -> None:
    """What a process of its own tells while it prepares a victim."""
    told: list[Event] = []
    one = experiment(train={"epochs": 2}, defences=[{"kind": "gaussian", "sigma": 0.1, "when": "inference"}])
    prepare(one, Digits.model_validate(TINY).load(Path()), Lab(sink=told.append), cache)
    passes.put([event.step for event in told if (event.kind, event.stage) == ("epoch", "train")])


@pytest.mark.slow
def test_processes_that_want_one_victim_at_once_train_it_once(tmp_path: Path) -> None:
    context = get_context("spawn")
    passes: SimpleQueue[list[int]] = context.SimpleQueue()
    both = [context.Process(target=train_there, args=(tmp_path, passes)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(120)
    assert sorted(passes.get() for _ in both) == [[], [1, 2]]


def test_other_training_images_train_another_victim(digits: Splits, tmp_path: Path) -> None:
    prepare(experiment(), digits, Lab(), tmp_path)
    fewer = experiment(data=TINY | {"train": 100})
    assert not prepare(fewer, fewer.data.load(Path()), Lab(), tmp_path).cached


def test_a_defended_victim_is_trained_for_its_defence_and_cut(digits: Splits, tmp_path: Path) -> None:
    def cached(**settings: Any) -> bool:
        return prepare(experiment(**settings), digits, Lab(), tmp_path).cached

    noise = {"kind": "laplace", "scale": 0.2}
    assert not cached()
    assert not cached(defences=[noise])
    assert cached(defences=[noise])
    assert not cached(defences=[noise], at="fc1")
    assert not cached(defences=[noise | {"scale": 0.3}])
    assert not cached(defences=[noise, noise])


def test_a_cached_victim_gives_the_same_run(digits: Splits, tmp_path: Path) -> None:
    one = experiment(defences=[{"kind": "laplace", "scale": 0.2}])
    events: list[Event] = []
    fresh = run_of(one, digits, cache=tmp_path)
    again = run_of(one, digits, cache=tmp_path, lab=Lab(sink=events.append))
    assert again.digest() == fresh.digest()
    assert not [event for event in events if event.stage == "train"]


def broken(self: Ridge, view: View, lab: Lab) -> Tensor:
    raise RuntimeError("singular\nand more lines")


def test_an_attack_that_fails_is_a_result_and_the_others_go_on(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ridge, "run", broken)
    run = run_of(experiment(attacks=["ridge", "lookalike", "gallery"]), digits)
    assert run.result("ridge").failure == "RuntimeError: singular"
    assert not run.result("ridge").scores
    assert run.result("lookalike").scores["identification"].mean > 0
    assert run.result("gallery").scores["identification"].mean > 0
    # a number that is missing is no safety
    assert judge([run], "identification>0.999").word != "passes"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_guess_that_is_not_finite_is_a_failed_result(
    digits: Splits, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    monkeypatch.setattr(Ridge, "run", lambda self, view, lab: view.shadow[: view.victims] * value)
    run = run_of(experiment(attacks=["ridge", "lookalike"]), digits)
    assert "not finite" in run.result("ridge").failure


def test_a_learned_attack_goes_on_when_ridge_fails(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ridge, "run", broken)
    decoder = {"kind": "decoder", "size": "small", "epochs": 1, "copies": 0}
    run = run_of(experiment(attacks=["ridge", decoder]), digits)
    assert not run.result("decoder").failure
    assert run.result("decoder").card.beats_ridge is not True


def cheat(splits: Splits) -> Any:
    return lambda self, view, lab: splits.victims.pixels.clone()


STRONG_NOISE = [{"kind": "gaussian", "sigma": 30.0}]


def test_an_attack_beyond_the_bound_fails_the_run(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ridge, "run", cheat(digits))
    with pytest.raises(BoundError, match=r"ridge identifies 1\.000") as caught:
        run_of(experiment(defences=STRONG_NOISE), digits)
    assert caught.value.exit_code == 4
    assert getattr(caught.value, "stage", "")


def test_the_same_guess_is_no_bug_where_the_release_allows_it(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ridge, "run", cheat(digits))
    assert run_of(experiment(), digits).result("ridge").scores["identification"].mean == 1


REPEAT = {"name": "repeat", "grants": ["queries", "shadow"], "queries": 64}
GALLERY = {"name": "gallery", "grants": ["weights", "candidates"], "asked": False}


def test_many_messages_are_held_to_the_bound_of_many_messages(digits: Splits) -> None:
    """64 messages identify more than one allows: no bug, and no bound of one message is asked of them."""
    one = experiment(defences=[{"kind": "gaussian", "sigma": 2.0}], threats=[REPEAT, GALLERY])
    run = run_of(one, digits)
    assert run.result("ridge").scores["identification"].mean > run.result("gallery").scores["identification"].mean


def test_the_bound_of_many_messages_is_checked_too(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Ridge.run
    guess = cheat(digits)
    cheating = lambda self, view, lab: (guess if len(view.repeats) > 1 else honest)(self, view, lab)  # noqa: E731
    monkeypatch.setattr(Ridge, "run", cheating)
    many = [REPEAT | {"queries": 2}, GALLERY | {"name": "many", "queries": 2}]
    one = experiment(defences=STRONG_NOISE, threats=[{"name": "query"}, GALLERY, *many])
    with pytest.raises(BoundError, match="ridge@repeat"):
        run_of(one, digits)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 2.0, 8.0])
def test_no_attack_beats_the_candidate_list_at_any_noise(digits: Splits, sigma: float) -> None:
    noise = [{"kind": "gaussian", "sigma": sigma}]
    run = run_of(experiment(defences=noise, attacks=["ridge", "lookalike", "gallery"]), digits)
    top = run.result("gallery").scores["identification"]
    error = 3 * (max(top.mean * (1 - top.mean), 1 / top.n) / top.n) ** 0.5
    for result in run.of_role("attack"):
        assert result.scores["identification"].mean <= top.mean + error


def test_an_attack_that_answers_all_alike_is_flagged_and_never_passes(
    digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = lambda self, view, lab: torch.zeros(view.victims, *view.input_shape)  # noqa: E731
    monkeypatch.setattr(Ridge, "run", blank)
    run = run_of(experiment(), digits)
    ridge = run.result("ridge")
    assert ridge.scores["identification"].mean == pytest.approx(1 / 40)
    assert ridge.card.collapsed
    assert not ridge.card.valid
    assert any("same guess" in told for told in ridge.card.evidence)
    assert judge([run], "identification>0.5").word == "inconclusive"


def test_an_attack_that_answers_with_the_average_must_show_its_strength_elsewhere(
    digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best answer where nothing can be learned; where something can, its control run tells."""
    average = lambda self, view, lab: view.shadow.mean(0, keepdim=True).expand(view.victims, -1, -1, -1)  # noqa: E731
    monkeypatch.setattr(Ridge, "run", average)
    run = run_of(experiment(), digits)
    ridge = run.result("ridge")
    assert not ridge.card.collapsed
    assert ridge.card.strong is False
    assert judge([run], "identification>0.5").word == "inconclusive"


CONTROL = "control of ridge"


def test_the_control_run_is_made_only_when_it_is_needed(digits: Splits) -> None:
    one = experiment()
    events: list[Event] = []
    leaking = run_of(one, digits, lab=Lab(sink=events.append), budget="identification>0.05")
    assert leaking.result("ridge").scores["identification"].low > 0.05
    assert leaking.result("ridge").card.strong
    assert "on the audited release itself" in leaking.result("ridge").card.evidence[-1]
    assert not [event for event in events if event.stage.startswith("control")]

    noisy = experiment(defences=STRONG_NOISE)
    safe = run_of(noisy, digits, lab=Lab(sink=events.append), budget="identification>0.5")
    assert safe.result("ridge").scores["identification"].low <= 0.5
    assert [event.stage for event in events if event.stage.startswith("control") and event.kind == "start"] == [CONTROL]
    assert safe.result("ridge").card.strong
    assert "on the undefended cut at" in safe.result("ridge").card.evidence[-1]
    assert judge([safe], "identification>0.5").word == "passes"


def test_a_control_run_is_made_once_for_all_adversaries(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = controls.Control.run

    def run(self: controls.Control, attack: Attack, name: str) -> Result:
        made.append(name)
        return real(self, attack, name)

    monkeypatch.setattr(controls.Control, "run", run)
    threats = [dict(threat) for threat in standing_plain(4)]
    safe = run_of(experiment(defences=STRONG_NOISE, threats=threats), digits, budget="identification>0.9")
    cards = [result.card for result in safe.results if result.kind == "ridge"]
    assert len(cards) == 2
    assert all(card.strong for card in cards)
    assert made == ["ridge"]
    assert cards[0].evidence[-1] == cards[1].evidence[-1]


def test_an_attack_that_fails_its_control_is_no_evidence_of_safety(
    digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It picks at random wherever it is tried, so its low number means nothing."""
    weak = lambda self, view, lab: view.shadow[torch.arange(view.victims) % 7]  # noqa: E731
    monkeypatch.setattr(Ridge, "run", weak)
    run = run_of(experiment(defences=STRONG_NOISE), digits, budget="identification>0.5")
    card = run.result("ridge").card
    assert card.strong is False
    assert not card.valid
    assert "is asked of it" in card.evidence[-1]
    assert judge([run], "identification>0.5").word == "inconclusive"


def test_no_control_is_run_for_an_adversary_that_another_attack_has_settled(digits: Splits) -> None:
    events: list[Event] = []
    budget = "identification>0.9"
    one = experiment(attacks=["ridge", "lookalike"], train={"epochs": 2})
    run = run_of(one, digits, lab=Lab(sink=events.append), budget=budget)
    assert run.result("ridge").scores["identification"].low > 0.9 > run.result("lookalike").scores["identification"].low
    assert not [event for event in events if event.stage.startswith("control")]
    assert run.result("lookalike").card.strong is None


def names(one: Experiment, shield: Shield) -> list[tuple[str, list[str]]]:
    return [(threat.name, [name for _, name in attacks]) for threat, attacks in pipeline.plan(one, shield)]


def test_an_attack_runs_once_a_number_of_messages() -> None:
    one = study({"data": TINY, "threats": None} | {"threats": [dict(t) for t in standing_plain(4)]}).experiment
    attacks = [kind for kind in DEFAULT_ATTACKS if kind != "gallery"]
    quiet = [kind for kind in attacks if not discover("unsmash.attacks", Attack)[kind].for_noise]
    assert names(one, Shield()) == [("query", quiet), ("gallery", ["gallery"])]
    memory = GaussianShield(1.0)
    memory.key = b"secret"
    assert names(one, memory) == [("query", attacks), ("gallery", ["gallery"])]
    assert names(one, GaussianShield(1.0)) == [
        ("query", attacks),
        ("repeat", [f"{name}@repeat" for name in attacks]),
        ("gallery", ["gallery"]),
        ("gallery_repeat", ["gallery@gallery_repeat"]),
    ]


def standing_plain(queries: int) -> list[dict[str, Any]]:
    from unsmash.threat import standing

    return [threat.model_dump(mode="json") for threat in standing(queries)]


def test_attacks_of_one_kind_are_told_apart_by_their_settings() -> None:
    one = experiment(
        attacks=[{"kind": "ridge", "images": 50}, {"kind": "ridge", "images": 60}, "lookalike", "mean_image"]
    )
    assert names(one, Shield()) == [("query", ["ridge(images=50)", "ridge(images=60)", "lookalike"])]


@pytest.mark.parametrize("twin", [{"kind": "ridge"}, {"kind": "ridge", "images": 50}])
def test_names_of_results_are_unique(digits: Splits, twin: dict[str, Any]) -> None:
    attacks = [{"kind": "ridge", "images": 50}, twin]
    run = run_of(experiment(attacks=attacks), digits)
    found = [result.name for result in run.results]
    assert len(found) == len(set(found))


def test_the_record_says_what_crossed(digits: Splits) -> None:
    run = run_of(experiment(defences=[{"kind": "laplace", "scale": 0.2}]), digits)
    assert run.split is not None
    assert run.split.shapes == ((32,),)
    assert run.split.bytes_sent == 32 * 4
    assert run.split.bytes_input == 64
    assert run.split.device_parameters == 64 * 32 + 32
    assert run.split.server_parameters == 32 * 10 + 10
    assert run.split.device_macs == 64 * 32
    assert run.split.stochastic
    assert run.split.defences == ("laplace(scale=0.2)",)
    assert run.utility is not None
    assert run.utility.accuracy is not None
    assert run.utility.accuracy.n == 80  # val and victims, none of which trained anything
    assert run.utility.undefended_accuracy is not None
    known = digits.train.labels.bincount()
    assert run.utility.chance == pytest.approx((known.max() / known.sum()).item())


def test_floors_stand_in_every_record(digits: Splits) -> None:
    run = run_of(experiment(), digits)
    assert {result.name for result in run.of_role("floor")} == {
        "chance",
        "label_only",
        "mean_image",
        "random_image",
        "class_mean",
    }
    assert run.result("chance").scores["identification"].mean == pytest.approx(1 / 40)
    assert run.result("mean_image").scores["identification"].mean == pytest.approx(1 / 40)
    roles = [result.role for result in run.results]
    assert roles == sorted(roles, key=("floor", "attack", "ceiling").index)


def test_what_the_data_found_is_passed_on(digits: Splits) -> None:
    odd = dataclasses.replace(
        digits.report,
        contamination=3,
        contamination_examples=("a = b",),
        near_duplicates=2,
        near_examples=("c ~ d",),
        repeats_dropped=5,
    )
    run = run_of(experiment(), dataclasses.replace(digits, report=odd))
    assert run.data is not None
    assert (run.data.contamination, run.data.near_duplicates, run.data.repeats_dropped) == (3, 2, 5)
    assert (run.data.contamination_examples, run.data.near_examples) == (("a = b",), ("c ~ d",))
    assert run.data.sizes == {"train": 120, "shadow": 160, "validator": 80, "val": 40, "victims": 40}


def unlabelled(splits: Splits, *sets: str) -> Splits:
    def blind(images: Images) -> Images:
        return dataclasses.replace(images, labels=torch.full_like(images.labels, -1))

    changed: Any = {name: blind(getattr(splits, name)) for name in sets}
    return dataclasses.replace(splits, **changed)


def test_images_without_labels_can_be_audited_but_not_trained_on(digits: Splits) -> None:
    blind = unlabelled(digits, "train", "shadow", "validator", "val", "victims")
    with pytest.raises(UnsmashError, match=r"train\.epochs=0"):
        run_of(experiment(), blind)
    run = run_of(experiment(train={"epochs": 0}), blind)
    assert run.utility is not None
    assert run.utility.accuracy is None
    assert run.recogniser is None
    assert run.result("ridge").scores["identification"].mean > 0.5
    assert "class_mean" not in {result.name for result in run.results}


def test_a_network_that_cannot_name_all_classes_is_refused_before_training(digits: Splits) -> None:
    few = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 9))
    one = experiment(at="1")
    with pytest.raises(ConfigError, match=r"\[n, 10\]"):
        prepare(one, digits, Lab(), None, module=few)


def test_an_error_knows_its_stage(digits: Splits) -> None:
    with pytest.raises(UnsmashError) as caught:
        run_of(experiment(at="no_such_layer"), digits)
    assert getattr(caught.value, "stage", "") == "victim"


def test_two_random_defences_have_no_exact_ceiling(digits: Splits) -> None:
    """The likelihood has no closed form then: the candidate list's result must not claim to be exact."""
    noise = [{"kind": "gaussian", "sigma": 0.01}, {"kind": "laplace", "scale": 0.01}]
    both = run_of(experiment(defences=noise), digits).result("gallery")
    assert both.scores["identification"].mean > 0.5
    assert not any("Exact" in told for told in both.card.evidence)
    assert not both.card.good
    single = run_of(experiment(defences=noise[:1]), digits).result("gallery")
    assert any("Exact" in told for told in single.card.evidence)
    assert single.card.good


def test_an_approximate_ceiling_is_no_bound(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ridge, "run", cheat(digits))
    masks = [{"kind": "dropout", "rate": 0.9}, {"kind": "dropout", "rate": 0.9}]  # no law in closed form, no bound
    assert run_of(experiment(defences=masks), digits).result("ridge").scores["identification"].mean == 1


def test_a_proof_holds_where_the_candidate_list_is_only_approximate(
    digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ridge, "run", cheat(digits))
    noise = [{"kind": "gaussian", "sigma": 30.0}, {"kind": "laplace", "scale": 30.0}]
    with pytest.raises(BoundError, match="proved"):
        run_of(experiment(defences=noise), digits)


MIFACE = {"kind": "miface", "max_iter": 60}


@functools.cache
def with_classes(defended: bool) -> tuple[Measured, Measured]:
    """The same experiment without and with a class attack."""
    defences = [{"kind": "gaussian", "sigma": 0.1}] if defended else []
    plain = experiment(defences=defences)
    splits = plain.data.load(Path())
    return measure(plain, splits), measure(experiment(defences=defences, attacks=[*RIDGE, MIFACE]), splits)


@pytest.mark.parametrize("defended", [False, True])
def test_a_class_attack_stands_apart_and_changes_nothing_else(defended: bool) -> None:
    plain, more = with_classes(defended)
    assert plain.run.classes is None
    for part in ("results", "threats", "bounds", "pictures", "dependence", "utility"):
        assert getattr(plain.run, part) == getattr(more.run, part)
    assert judge([plain.run]) == judge([more.run])
    assert {name: value.tobytes() for name, value in plain.arrays.items()} == {
        name: value.tobytes() for name, value in more.arrays.items() if not name.startswith("class/")
    }


def test_prototypes_are_scored_by_the_network_a_judge_and_the_victims() -> None:
    found, arrays = with_classes(False)[1].run, with_classes(False)[1].arrays
    assert found.classes is not None
    assert [result.name for result in found.classes.results] == ["miface/start", "miface/mean", "miface"]
    assert [threat.name for threat in found.classes.threats] == ["owner"]
    start, mean, best = found.classes.results
    images, one = torch.from_numpy(arrays["class/miface"]), experiment(attacks=[MIFACE])
    splits = one.data.load(Path())
    sure = prepare(one, splits, Lab(), None).model(images).softmax(1).diagonal()
    shadow = splits.shadow
    for label, row in enumerate(best.prototypes):
        mine = splits.victims.pixels[splits.victims.labels == label]
        others = splits.victims.pixels[splits.victims.labels != label]
        assert row.confidence == pytest.approx(sure[label].item(), abs=1e-5)
        assert row.confidence >= start.prototypes[label].confidence
        assert row.own_mse == pytest.approx((mine - images[label]).square().mean((1, 2, 3)).min().item(), abs=1e-6)
        assert row.other_mse == pytest.approx((others - images[label]).square().mean((1, 2, 3)).min().item(), abs=1e-6)
        assert row.mean_mse == pytest.approx((mine.mean(0) - images[label]).square().mean().item(), abs=1e-6)
        floor = (mine.mean(0) - shadow.pixels[shadow.labels == label].mean(0)).square().mean().item()
        assert mean.prototypes[label].mean_mse == pytest.approx(floor, abs=1e-6)
    assert start.mean("class_recognition") == pytest.approx(found.classes.chance)  # black is read as one class
    nearer = [row.own_mse < row.other_mse for row in best.prototypes if row.own_mse and row.other_mse]
    assert best.mean("class_nearest") == pytest.approx(sum(nearer) / len(nearer))


def test_a_class_attack_alone_asks_nobody_else(digits: Splits) -> None:
    found = run_of(experiment(attacks=[MIFACE]), digits)
    assert found.classes is not None
    assert not found.threats
    assert judge([found]).word == "inconclusive"


def test_a_class_attack_that_fails_is_a_result(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(discover("unsmash.attacks", Attack)["miface"], "invert", broken)
    found = run_of(experiment(attacks=[*RIDGE, MIFACE]), digits)
    assert found.classes is not None
    (failed,) = found.classes.results
    assert failed.failure.startswith("MemoryError")
    assert not found.result("ridge").failure


def test_a_flat_start_is_said(digits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = {"kind": "miface", "on": "probability", "start": "random", "max_iter": 2}
    monkeypatch.setattr("unsmash.class_inversion.FLAT", 1e9)
    found = run_of(experiment(attacks=[attack]), digits)
    assert found.classes is not None
    assert "no gradient to follow for 10 of 10 classes" in found.classes.attacks[0].notes[0]


def test_no_standing_adversary_holds_the_server_half_but_who_is_asked_for() -> None:
    assert "owner" not in {threat.name for threat in experiment().threats}
    assert [str(grant) for grant in experiment(attacks=[MIFACE]).threats[-1].grants] == ["server", "weights"]
    more = experiment(attacks=[MIFACE | {"start": "average"}]).threats[-1]
    assert (more.name, more.asked, [str(grant) for grant in more.grants]) == (
        "owner",
        False,
        ["server", "shadow", "weights"],
    )
    with pytest.raises(ConfigError, match="server"):
        experiment(attacks=[MIFACE], threats=[{"name": "query"}])
