"""Files for a gate in CI: a JUnit report and a summary in Markdown. Made from records; knows no torch.

The exit code is the gate. These files say why, also when the gate closes and when nothing could be measured.
"""

from unsmash.gate.files import audited, scanned, swept, told

__all__ = ["audited", "scanned", "swept", "told"]
