"""`python -m hypernetworks` runs the command `hypernetworks`."""

import sys

from hypernetworks.cli import main

sys.exit(main())
