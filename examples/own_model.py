"""Audit a model of your own: `python examples/own_model.py`, or
`unsmash audit --data digits --model examples/own_model.py:make_net --at relu`.
"""

from collections import OrderedDict

from torch import nn


def make_net(classes: int = 10) -> nn.Module:
    """A small network for 8 × 8 grey images; yours would come with its trained weights."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 8, 3, padding=1),
            relu=nn.ReLU(),
            flatten=nn.Flatten(),
            fc=nn.Linear(512, classes),
        )
    )


if __name__ == "__main__":
    import unsmash

    found = unsmash.audit(data="digits", model=make_net(), at="relu")
    print(found.verdict.sentence)
    print(found.report)
