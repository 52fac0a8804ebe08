"""Cold → hot → cold: activator, readiness, lifecycle, adoption."""
