"""`python -m hypernetworks` runs the command `hypernetworks`."""

import sys

from hypernetworks_command import main

sys.exit(main())
