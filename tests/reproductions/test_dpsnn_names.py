"""dpsnn's checkpoint names: what its scripts write is read, and what is written is read back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsmash.errors import ConfigError
from unsmash.reproductions.dpsnn_names import Attacker, Classifier, read_attacker, read_classifier, readings, written

numbers = st.floats(0, 1e6, allow_nan=False) | st.sampled_from([0.0, 0.05, 0.1, 1.0, 1.25, 2.0, 10.0, 12.5, 1e-5, 1e22])


@given(numbers, numbers, st.none() | st.integers(0, 120), st.booleans())
def test_what_is_written_is_read_back(noise: float, nopeek: float, epoch: int | None, validation: bool) -> None:
    classifier = Classifier(noise, nopeek, epoch, "my_mnist", validation)
    assert read_classifier(classifier.name) == classifier
    assert read_classifier(f"{classifier.name}.ckpt") == classifier


@given(numbers, st.none() | st.floats(0.001, 1), st.none() | numbers)
def test_an_attacker_is_read_back_without_the_pass_of_its_classifier(
    noise: float, share: float | None, after: float | None
) -> None:
    attacker = Attacker(Classifier(noise, 0.5, epoch=7), share, after)
    back = read_attacker(f"{attacker.name}.ckpt")
    assert back == Attacker(Classifier(noise, 0.5), share, after)


@given(numbers)
def test_the_point_is_left_out_where_that_is_no_loss(number: float) -> None:
    """As published wherever the digits can be no other number."""
    packed = repr(number).replace(".", "")
    assert number in readings(packed)
    assert (written(number) == packed) == (len(readings(packed)) == 1)


def test_readings_are_all_numbers_that_print_so() -> None:
    printed: dict[str, set[float]] = {}
    for digits in range(10_000):
        for power in range(5):
            number = digits / 10**power
            printed.setdefault(repr(number).replace(".", ""), set()).add(number)
    for text, found in printed.items():
        if len(text) <= 4 and "e" not in text:
            assert set(readings(text)) == found, text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist_00noise_00nopeek_epoch=06.ckpt", Classifier(0.0, 0.0, 6)),
        ("mnist_05noise_005nopeek_epoch=04", Classifier(0.5, 0.05, 4)),
        ("mnist_02noise_025nopeek_epoch=08", Classifier(0.2, 0.25, 8)),
        ("mnist_00noise_10nopeek_epoch=09", Classifier(0.0, 1.0, 9)),
        ("mnist_00noise_100nopeek_epoch=00", Classifier(0.0, 10.0, 0)),
        ("mnist_50noise_00nopeek", Classifier(5.0, 0.0)),
        ("attack_validation_mnist_00noise_00nopeek_epoch=07", Classifier(0.0, 0.0, 7, validation=True)),
        ("noise0.1_peek0.5.ckpt", Classifier(0.1, 0.5)),
        ("noise0_peek0.0.ckpt", Classifier(0.0, 0.0)),
        ("noise0.2_peek0.0_3.ckpt", Classifier(0.2, 0.0)),
        ("mnist_1.25noise_10.0nopeek", Classifier(1.25, 10.0)),
    ],
)
def test_published_classifiers(name: str, expected: Classifier) -> None:
    assert read_classifier(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist_attacker_model<mnist_10noise_00nopeek.ckpt", Attacker(Classifier(1.0, 0.0))),
        ("mnist_attacker_model<mnist_01noise_025nopeek>.ckpt", Attacker(Classifier(0.1, 0.25))),
        ("mnist_attacker_model<mnist_00noise_00nopeek>_set10noise.ckpt", Attacker(Classifier(0.0, 0.0), noise=1.0)),
        ("mnist_attacker_002datapct_model<mnist_00noise_00nopeek>.ckpt", Attacker(Classifier(0.0, 0.0), share=0.02)),
        ("emnist_attacker_model<mnist_00noise_00nopeek>", Attacker(Classifier(0.0, 0.0), saveas="emnist_attacker")),
    ],
)
def test_published_attackers(name: str, expected: Attacker) -> None:
    assert read_attacker(name) == expected


def test_a_plain_model_is_not_found_by_the_name_of_another() -> None:
    """The published search takes any file whose name holds the model's, so the wrong attacker was scored."""
    wanted, other = Attacker(Classifier(0, 0)), Attacker(Classifier(0, 0), noise=1.0)
    assert Classifier(0, 0).name in other.name
    assert read_attacker(other.name) != wanted


@pytest.mark.parametrize("name", ["mnist_125noise_00nopeek", "mnist_00noise_105nopeek_epoch=01.ckpt"])
def test_digits_that_can_be_two_numbers_are_refused_with_both(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_classifier(name)
    told = str(caught.value)
    assert all(one in told for one in (("1.25", "12.5") if "125" in name else ("1.05", "10.5")))
    assert "with its point" in told


@pytest.mark.parametrize(
    "name",
    ["resnet18.ckpt", "mnist_1noise_00nopeek", "mnist_0..1noise_00nopeek", "mnist_noise_00nopeek", "", "noise_peek0.1"],
)
def test_other_names_are_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_classifier(name)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="allowed"):
        read_attacker(name)
