"""The budget: what it reads, what it refuses and in which words, and Kleene's logic against brute force."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsmash import budget
from unsmash.budget import CLASSES, COST, LEAKAGE, Comparison, Terms, evaluate, parse
from unsmash.errors import ConfigError

EXAMPLE = "Write for example --fail-if 'identification>0.05 or ssim>0.4'"
FORM = f"allowed: METRIC > NUMBER, joined by or / and. {EXAMPLE}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("identification>0.05", [[("identification", ">", 0.05)]]),
        ("  identification  >=  5 %  ", [[("identification", ">=", 0.05)]]),
        ("accuracy<90%", [[("accuracy", "<", 0.9)]]),
        ("mse <= 1e-2", [[("mse", "<=", 0.01)]]),
        ("psnr>-3.5", [[("psnr", ">", -3.5)]]),
        ("ssim>40%", [[("ssim", ">", 0.4)]]),
        (
            "identification>0.05 and ssim>0.4 or bytes>4096 or latency_ms>+5 and mse<.01",
            [
                [("identification", ">", 0.05), ("ssim", ">", 0.4)],
                [("bytes", ">", 4096.0)],
                [("latency_ms", ">", 5.0), ("mse", "<", 0.01)],
            ],
        ),
    ],
)
def test_reads(text: str, expected: list[list[tuple[str, str, float]]]) -> None:
    assert [[(t.metric, t.operator, t.limit) for t in group] for group in parse(text)] == expected


ERRORS = {
    "": f"fail-if: got ''; {FORM}",
    "identification": f"fail-if: got 'identification'; {FORM}",
    "identification>": f"fail-if: got 'identification>'; {FORM}",
    "identification>x": f"fail-if: got 'identification>x'; {FORM}",
    "identification==0.05": f"fail-if: got 'identification==0.05'; {FORM}",
    "identification>0.05 OR ssim>0.4": f"fail-if: got 'identification>0.05 OR ssim>0.4'; {FORM}",
    "identification>0.05 or": f"fail-if: got 'identification>0.05 or'; {FORM}",
    "identification>0.05, ssim>0.4": f"fail-if: got 'identification>0.05, ssim>0.4'; {FORM}",
    "0.05<identification": f"fail-if: got '0.05<identification'; {FORM}",
    "accuracy<nan": f"fail-if: got 'accuracy<nan'; {FORM}",
    "ssim>1.2.3": f"fail-if: got '1.2.3'; allowed: a number. {EXAMPLE}",
    "psnr>1e999": f"fail-if: got '1e999'; allowed: a finite number. {EXAMPLE}",
    "identification>5": f"fail-if: got 'identification>5'; allowed: a share from 0 to 1. {EXAMPLE}",
    "identification>105%": f"fail-if: got 'identification>105'; allowed: a share from 0 to 1. {EXAMPLE}",
    "accuracy<-0.1": f"fail-if: got 'accuracy<-0.1'; allowed: a share from 0 to 1. {EXAMPLE}",
    "psnr>20%": f"fail-if: got 'psnr>20%'; allowed: psnr without a per cent sign. {EXAMPLE}",
    "identifcation>0.05": "fail-if: got 'identifcation'; allowed: "
    + ", ".join(LEAKAGE + CLASSES + COST)
    + " (did you mean 'identification'?).",
    "privacy>1": f"fail-if: got 'privacy'; allowed: {', '.join(LEAKAGE + CLASSES + COST)}.",
}


@pytest.mark.parametrize("text", ERRORS)
def test_refuses_in_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) == ERRORS[text]


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(LEAKAGE), st.sampled_from(["<", "<=", ">", ">="]), st.integers(0, 100)),
            min_size=1, max_size=3,
        ),
        min_size=1, max_size=3,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_is_written_reads_back(groups: list[list[tuple[str, str, int]]]) -> None:
    terms = tuple(tuple(Comparison(m, op, number / 100) for m, op, number in group) for group in groups)
    assert parse(" or ".join(" and ".join(map(str, group)) for group in terms)) == terms


def possible(value: bool | None) -> tuple[bool, ...]:
    return (True, False) if value is None else (value,)


@given(st.lists(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=4), min_size=1, max_size=3))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_unknown_means_that_it_could_go_either_way(table: list[list[bool | None]]) -> None:
    """Kleene's value of an expression without repeats: known exactly where every way of filling the gaps agrees."""
    keys = [[Comparison("ssim", ">", i + j / 10) for j in range(len(row))] for i, row in enumerate(table)]
    terms: Terms = tuple(map(tuple, keys))
    known = {key: value for ks, vs in zip(keys, table, strict=True) for key, value in zip(ks, vs, strict=True)}
    flat = [value for row in table for value in row]
    outcomes = set()
    for filled in itertools.product(*map(possible, flat)):
        rest = iter(filled)
        outcomes.add(any([all([next(rest) for _ in row]) for row in table]))  # noqa: C419 (each value must be taken)
    expected = outcomes.pop() if len(outcomes) == 1 else None
    assert evaluate(terms, known.__getitem__) is expected


NUMBERS = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4])


@given(st.sampled_from(["<", "<=", ">", ">="]), NUMBERS, NUMBERS, NUMBERS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_comparison_over_an_interval_is_known_where_all_its_points_agree(
    operator: str, limit: float, first: float, last: float
) -> None:
    low, high = sorted((first, last))
    term = Comparison("ssim", operator, limit)
    python = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}[operator]
    points = {bool(python(low + (high - low) * step / 8, limit)) for step in range(9)} | {bool(python(high, limit))}
    assert term.over(low, high) is (points.pop() if len(points) == 1 else None)
    assert term.holds(low) is bool(python(low, limit))
    assert term.upper is (operator in (">", ">="))


NUMBERS = st.sampled_from([0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0])
ALLOWED = st.sampled_from(["identification<=0.3", "accuracy>=0.6", "ssim<0.5", "bytes<=0.4", "mse>0.2"])


@given(
    groups=st.lists(st.lists(ALLOWED, min_size=1, max_size=3), min_size=1, max_size=3),
    values=st.fixed_dictionaries(
        dict.fromkeys(("identification", "accuracy", "ssim", "bytes", "mse"), NUMBERS),
    ),
)
def test_what_is_forbidden_holds_exactly_where_what_is_allowed_does_not(
    groups: list[list[str]], values: dict[str, float]
) -> None:
    text = " or ".join(" and ".join(group) for group in groups)

    def at(terms: budget.Terms) -> bool | None:
        return budget.evaluate(terms, lambda term: term.holds(values[term.metric]))

    assert at(budget.parse(budget.forbidden(text))) is (not at(budget.parse(text)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("identification>0.05", r"budget: got 'identification>0.05'; allowed: identification<0.05\. A budget says"),
        ("accuracy<=0.9", r"allowed: accuracy>=0.9"),
        ("mse<=0.1", r"allowed: mse>=0.1"),
        ("identificaton<=0.05", r"budget: got 'identificaton'.*did you mean 'identification'"),
        ("identification=<5", r"--budget 'identification<=0.05 and accuracy>=0.9'"),
        ("identification<=5", r"a share from 0 to 1"),
    ],
)
def test_a_budget_on_the_wrong_side_or_misspelt_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        budget.forbidden(text)
