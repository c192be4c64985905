"""Reports: run records in, one self-contained HTML file out. Nothing here measures, and nothing imports torch."""

from unsmash.report.parts import Report
from unsmash.report.render import (
    render,
    render_advice,
    render_comparison,
    render_frontier,
    render_reproduction,
    render_scan,
    write,
)
from unsmash.report.summarise import summarise

__all__ = [
    "Report",
    "render",
    "render_advice",
    "render_comparison",
    "render_frontier",
    "render_reproduction",
    "render_scan",
    "summarise",
    "write",
]
