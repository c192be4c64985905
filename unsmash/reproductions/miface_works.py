"""One network of the class-inversion example, inverted in every way that is compared, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from unsmash.class_inversion import Descent
from unsmash.recogniser import Recogniser, recogniser
from unsmash.reproductions.miface_data import Schedule, Subject, Target, target
from unsmash.reproductions.miface_descents import SURE, Found, Plan, Start, class_means, inverted, once_each
from unsmash.reproductions.workbench import Workbench


class Work:
    """One network of one set, inverted in every way that is compared."""

    def __init__(
        self,
        bench: Workbench,
        subject: Subject,
        kind: str,
        schedule: Schedule,
        begins: tuple[Start, ...],
        descents: Mapping[str, Descent],
    ) -> None:
        """`descents` are the paper's rule on log-odds by the name of their parameters; `begins` has zeros and grey."""
        self.bench, self.names, self.starts = bench, tuple(descents), begins
        self.target: Target = target(bench, subject, kind, schedule)
        self.eye: Recogniser | None = recogniser(
            *subject.judge, len(subject.classes), bench.lab.at(f"judge/{subject.name}"), bench.cache
        )
        plans = {}
        for name, right in descents.items():
            paper = replace(right, on="probability")
            art = replace(paper, rule="art")
            for start in begins:
                plans[f"{name}/{start}/art"] = Plan(art, start)
                plans[f"{name}/{start}/right"] = Plan(right, start)
            plans[f"{name}/zeros/together"] = Plan(art, "zeros", together=True)
            plans[f"{name}/zeros/paper"] = Plan(paper, "zeros")
        self.plans = plans
        self.found = once_each(plans, lambda one: inverted(bench, self.target, one, self.eye))
        self.floor = class_means(self.target, self.eye, bench.lab)

    @property
    def title(self) -> str:
        """The network, and what it was trained on."""
        return f"{self.target.kind}, {self.target.subject.name}"

    def art(self, start: str = "zeros") -> Found:
        """As published, with the entry point's parameters."""
        return self.found[f"{self.names[0]}/{start}/art"]

    def right(self, start: str = "grey") -> Found:
        """Put right, with the entry point's parameters."""
        return self.found[f"{self.names[0]}/{start}/right"]

    def sentences(self) -> list[str]:
        """What this network shows of the rule and of the start, in the figures of this run."""
        art, right, count = self.art(), self.right(), len(self.target.subject.classes)
        dropped, flat = int(art.dropped.sum()), sum(one.flat for one in art.prototypes)
        late = [one for one in art.prototypes if one.confidence >= SURE and one.stopped]
        spent = sum(one.iterations for one in late)
        needed = sum(one.iterations for one in right.prototypes)
        lines = [
            f"{self.title}: from the zero start ART's rule let go of {dropped} of {count} classes after one step, and "
            f"{int(art.unmoved.sum())} of {count} images are still the start image; "
            f"{flat} of {count} classes had no gradient there that a thousand steps would see.",
        ]
        if late:
            lines.append(
                f"{self.title}: the {len(late)} classes that ART's rule did make {SURE:.0%} sure took {spent:,} "
                f"iterations together; the paper's rule on log-odds took {needed:,} from mid-grey for all {count}."
            )
        begins = ", ".join(f"{read(self.right(start))} from {start}" for start in self.starts)
        lines.append(
            f"{self.title}: the images put right make the network {SURE:.0%} sure of {reached(right)} of {count} "
            f"classes from grey. A recogniser of other images reads as their class {begins}; of plain class means "
            f"{read(self.floor)}."
        )
        return lines


def reached(found: Found) -> int:
    """Classes that the network is sure of."""
    return sum(one.confidence >= SURE for one in found.prototypes)


def read(found: Found) -> int:
    """Images that the recogniser reads as their class."""
    return sum(bool(one.recognised) for one in found.prototypes)


def headline(work: Work) -> str:
    """The finding on the network that gives the tarball."""
    art, right, count = work.art(), work.right(), len(work.target.subject.classes)
    return (
        f"As published, from a black start and by ART's rule, {work.target.kind} is {SURE:.0%} sure of "
        f"**{reached(art)} of {count}** images after {_steps(art):,.0f} iterations each, and {int(art.unmoved.sum())} "
        f"never left the start; by the paper's rule on log-odds, from mid-grey, of **{reached(right)} of {count}** "
        f"after {_steps(right):,.0f}."
    )


def _steps(found: Found) -> float:
    return sum(one.iterations for one in found.prototypes) / len(found.prototypes)
