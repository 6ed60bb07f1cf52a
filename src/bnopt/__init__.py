"""A reproduction of "How Does Batch Normalization Help Optimization?" (Santurkar et al., 2018)."""

import time

# The start of a job: Python imports this file before the packages that the job's stage needs.
STARTED = time.time()
