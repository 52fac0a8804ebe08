"""The `nbgate` command."""
