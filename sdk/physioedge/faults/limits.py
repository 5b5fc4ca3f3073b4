"""Limits as the documents state them, kept by hand: a row that took them from the runtime would follow its changes.

Each names the page that promises it.
"""

from __future__ import annotations

BUNDLE_BYTES = 512 * 1024 * 1024
"""docs/bundle.md, section 8."""
MANIFEST_BYTES = 1024 * 1024
"""docs/bundle.md, section 8."""
ADAPTER_BYTES = 4 * 1024 * 1024
"""docs/adapter.md, section 8."""
CONDITION_BYTES = 8192
"""docs/condition.md."""
SLOT_NORM = 100.0
"""docs/adapter.md, section 3."""
LEAP = 1_000_000
"""Of a counter: docs/adapter.md, section 5."""
HORIZON_S = 3650 * 86_400
"""Of a signed time ahead of what is known: docs/adapter.md, section 5."""
TOLERANCE_S = 0.05
"""Of a timestamp beside the count of samples: docs/signal-quality.md, Time."""
