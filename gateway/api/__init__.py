"""The management API: JSON under `/gateway/api/`, health and metrics, on a listener of its own.

`app.py` has the composition, `middleware.py` what holds for every request, one file per noun the
handlers, `bodies.py` and `records.py` what is read and written. Nothing here decides about
notebooks or routes: the services do.
"""

from gateway.api.app import build_management_app
from gateway.api.services import Activator, Facts, Lifecycle, RouteService, Services

__all__ = [
    "Activator",
    "Facts",
    "Lifecycle",
    "RouteService",
    "Services",
    "build_management_app",
]
