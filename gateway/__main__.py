"""`python -m gateway` is `nbgate`."""

import sys

from gateway.cli import main

sys.exit(main())
