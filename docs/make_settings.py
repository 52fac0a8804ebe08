"""Write docs/settings.md from the settings themselves: `python docs/make_settings.py`."""

from __future__ import annotations

from pathlib import Path

from gateway.settings import Settings

_HEAD = """# Settings

Generated from `gateway/settings/` by `docs/make_settings.py`; a test checks that it is current.

Each setting is a flag of `nbgate serve` (`--state-dir`), a variable (`NBGATE_STATE_DIR`), or a line
`NBGATE_STATE_DIR=…` of the file that `NBGATE_CONFIG` names. A flag wins over the environment, the
environment over the file. Durations are seconds.

| variable | default | meaning |
|---|---|---|
"""


def reference() -> str:
    """Return the text of docs/settings.md."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = str(field.default).replace(str(Path.home()), "~")
        if name == "starts_at_once":
            default = "cores"
        shown = "–" if field.default in ("", None, ()) else f"`{default}`"
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| `NBGATE_{name.upper()}` | {shown} | {meaning} |")
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(reference())
