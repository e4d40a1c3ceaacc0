"""When the process began: the budget counts from here, so this is imported first."""

import time

PROCESS_START = time.monotonic()
