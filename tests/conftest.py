"""One thread, and tiny real images that many tests share."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell's background job ignores Ctrl-C, and so would every process that the tests start and mean to interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import torch
from commandline import Said, Tell
from small import TINY

from unsmash import cli
from unsmash.data.base import Splits
from unsmash.data.digits import Digits
from unsmash.experiment import Experiment, study
from unsmash.lab import Lab
from unsmash.victim import Victim, prepare

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Splits:
    """Real handwritten digits, 8 × 8, a few of each set."""
    return Digits.model_validate(TINY).load(Path())


@pytest.fixture(scope="session")
def plain() -> Experiment:
    """The smallest audit: a one-layer device half, the default attacks at small settings."""
    attacks = [{"kind": "lookalike"}, {"kind": "ridge"}, {"kind": "decoder", "size": "small", "epochs": 2, "copies": 1}]
    raw = {"data": TINY, "model": "shallow_net", "train": {"epochs": 4}, "attacks": [*attacks, "gallery"]}
    return study(raw).experiment


@pytest.fixture(scope="session")
def victim(plain: Experiment, digits: Splits) -> Victim:
    """The trained model of the smallest audit; not to be changed."""
    return prepare(plain, digits, Lab(), None)


@pytest.fixture
def short_recogniser(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recogniser of a few steps where its quality does not matter."""
    monkeypatch.setattr("unsmash.recogniser.STEPS", 12)


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Tell:
    """Run the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unsmash.recogniser.STEPS", 12)

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["unsmash", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        return Said(code, *capsys.readouterr())

    return run
