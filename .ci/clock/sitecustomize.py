"""`time.sleep` for `.ci/at`: libfaketime 0.9.10 refuses the sleep until a monotonic moment that Python asks
for."""

import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds) and None
