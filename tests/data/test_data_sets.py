import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from unsmash.component import discover
from unsmash.data import Data, data_root
from unsmash.data.base import SETS
from unsmash.data.celeba import Celeba
from unsmash.data.cifar10 import Cifar10
from unsmash.data.lfw import Lfw
from unsmash.data.mnist import Mnist
from unsmash.data.omniglot import Omniglot
from unsmash.errors import ConfigError, ContaminationError, DataError

KINDS = discover("unsmash.data", Data)
PACKAGED = ("digits", "lfw_subset", "mnist5k")
HERE = ("cifar10", "lfw", "mnist", "omniglot")
LOADABLE = tuple(kind for kind in KINDS if kind not in ("folder", "celeba"))
SHAPES = {
    "cifar10": ((3, 32, 32), 10),
    "digits": ((1, 8, 8), 10),
    "lfw": ((3, 32, 32), 5),
    "lfw_subset": ((1, 25, 25), 2),
    "mnist": ((1, 28, 28), 10),
    "mnist5k": ((1, 28, 28), 10),
    "omniglot": ((1, 28, 28), 20),
}


def test_every_kind_is_known_and_one_is_the_default() -> None:
    assert set(KINDS) == {*PACKAGED, *HERE, "celeba", "folder"}
    assert [kind for kind, cls in KINDS.items() if cls.default] == ["mnist5k"]
    assert all(cls.summary().endswith(".") for cls in KINDS.values())


@pytest.mark.parametrize("kind", LOADABLE)
def test_sets_are_disjoint_and_what_was_asked_for(kind: str, request: pytest.FixtureRequest) -> None:
    where = Path("none") if kind in PACKAGED else request.getfixturevalue("root")
    splits = KINDS[kind].model_validate(KINDS[kind].tiny).load(where)
    assert (splits.input_shape, len(splits.classes)) == SHAPES[kind]
    seen = [image.numpy().tobytes() for name in SETS for image in getattr(splits, name).pixels]
    assert len(set(seen)) == len(seen) == sum(splits.report.sizes.values())
    for name in SETS:
        images = getattr(splits, name)
        assert len(images) == len(images.labels) == len(images.names) == KINDS[kind].tiny[name]
        assert images.pixels.dtype == torch.float32
        assert images.labels.dtype == torch.int64
        assert 0 <= images.pixels.min() < 0.1
        assert 0.9 < images.pixels.max() <= 1
        assert -1 <= images.labels.min() <= images.labels.max() < len(splits.classes)
    assert (splits.train.labels >= 0).all()
    victims = splits.victims.labels[splits.victims.labels >= 0].bincount(minlength=len(splits.classes))
    assert victims.max() - victims.min() <= 1
    assert json.loads(json.dumps(asdict(splits.report)))["sizes"] == splits.report.sizes


def test_the_default_settings_find_no_repeats_or_near_twins() -> None:
    for kind in PACKAGED:
        report = KINDS[kind].model_validate({}).load(Path("none")).report
        assert (report.contamination, report.repeats_dropped, report.near_duplicates) == (0, 0, 0)


def test_no_random_state_changes_the_sets() -> None:
    digits = KINDS["digits"].model_validate({})
    first = digits.load(Path())
    torch.manual_seed(1234)
    random.seed(1234)
    assert digits.load(Path()).report == first.report


def test_another_process_draws_the_same_sets() -> None:
    code = (
        "from pathlib import Path; from unsmash.data.digits import Digits; "
        "print(Digits().load(Path()).report.fingerprint)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == KINDS["digits"].model_validate({}).load(Path()).report.fingerprint


def test_omniglots_thousand_identical_images_stop_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    omniglot = Omniglot(**(Omniglot.tiny | {"duplicates": "stop"}))
    once = omniglot.pools(root)
    monkeypatch.setattr(Omniglot, "pools", lambda *_: once)  # 19,020 files, read once for both loads
    with pytest.raises(ContaminationError, match="1,000 images stand in two sets") as caught:
        omniglot.load(root)
    assert caught.value.count == 1000
    assert all("small1/Greek" in example and "small2/Greek" in example for example in caught.value.examples)
    allowed = omniglot.load(root, allow_contamination=True).report
    assert allowed.contamination == 1000
    assert allowed.contamination_examples == caught.value.examples


@pytest.mark.slow
def test_omniglot_in_its_own_size_shares_a_thousand_images_too(root: Path) -> None:
    with pytest.raises(ContaminationError) as caught:
        Omniglot().load(root)
    assert caught.value.count == 1000
    dropped = Omniglot(duplicates="drop").load(root)
    assert dropped.report.repeats_dropped == 1000
    assert dropped.input_shape == (1, 105, 105)
    assert dropped.victims.pixels.unique().tolist() == [0, 1]
    assert dropped.victims.pixels.mean() > 0.8  # paper is white


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in HERE if kind != "omniglot"])
def test_the_large_sets_load_at_their_default_settings(kind: str, root: Path) -> None:
    report = KINDS[kind].model_validate({}).load(root).report
    assert (report.contamination, report.repeats_dropped, report.near_duplicates) == (0, 0, 0)


def test_mnist_keeps_its_makers_parts(root: Path) -> None:
    splits = Mnist(**Mnist.tiny).load(root)
    assert all(name.startswith("MNIST test") for name in (*splits.victims.names, *splits.val.names))
    assert all(name.startswith("MNIST train") for name in (*splits.train.names, *splits.shadow.names))


def test_lfws_shadow_has_people_that_the_target_does_not_know(root: Path) -> None:
    splits = Lfw(**(Lfw.tiny | {"train": 800, "shadow": 400})).load(root)
    assert (splits.shadow.labels >= 0).sum() == 1140 - 800 - 40 - 20 - 20
    known = {name.split("/")[0].replace("_", " ") for name in splits.train.names}
    assert known == set(splits.classes)
    others = [name for name, label in zip(splits.shadow.names, splits.shadow.labels, strict=True) if label < 0]
    assert not {name.split("/")[0].replace("_", " ") for name in others} & known
    with pytest.raises(
        DataError, match=r"fewer than two people have 531 images \(most photographs: George_W_Bush 530,"
    ):
        Lfw(min_images=531).load(root)


@pytest.mark.parametrize("cls", [Mnist, Cifar10, Omniglot, Lfw, Celeba])
def test_missing_data_get_one_sentence_that_says_what_to_do(
    cls: type[Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", _no_network)
    with pytest.raises(
        DataError, match=r"is not in .*downloading it failed .*--data-root or UNSMASH_DATA, or run once"
    ) as caught:
        cls(**cls.tiny).load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_what_they_should_be_get_a_sentence(tmp_path: Path) -> None:
    for name in ("cifar10/cifar10_subset.npz", "omniglot-py/images_evaluation.zip", "lfw/lfw_64px.zip"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"rubbish")
    for cls, name in ((Cifar10, "cifar10_subset.npz"), (Omniglot, "images_evaluation.zip"), (Lfw, "lfw_64px.zip")):
        with pytest.raises(DataError, match=name):
            cls(**cls.tiny).load(tmp_path)


def test_celeba_reads_torchvisions_layout(tmp_path: Path, photos: Callable[..., Path]) -> None:
    folder = photos("celeba/img_align_celeba", 300, side=40, suffix="jpg")
    rows = [f"{file.name}  {1 if index % 3 else -1} -1" for index, file in enumerate(sorted(folder.iterdir()))]
    table = tmp_path / "celeba" / "list_attr_celeba.txt"
    table.write_text("\n".join(["300", "Smiling Bald", *rows]) + "\n")
    splits = Celeba(**Celeba.tiny).load(tmp_path)
    assert splits.input_shape == (3, 32, 32)
    assert splits.classes == ("not Smiling", "Smiling")
    for name, label in zip(splits.victims.names, splits.victims.labels.tolist(), strict=True):
        assert label == int(int(name[:3]) % 3 > 0)
    with pytest.raises(ConfigError, match="did you mean 'Smiling'"):
        Celeba(attribute="Smile").load(tmp_path)
    table.write_text("300\n")
    with pytest.raises(DataError, match="not CelebA's table"):
        Celeba().load(tmp_path)


def test_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNSMASH_DATA", "/somewhere")
    assert data_root(tmp_path) == tmp_path
    assert data_root() == Path("/somewhere")
    monkeypatch.delenv("UNSMASH_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root() == tmp_path / "unsmash"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root() == Path.home() / ".cache" / "unsmash"


def _no_network(*_: object, **__: object) -> None:
    raise OSError("no network")
