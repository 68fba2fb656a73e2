"""What every test runs under: one BLAS thread, as in the command line, and the two lengths of the property tests."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy loads: a result must not depend on the machine's load

from hypothesis import settings
from threadpoolctl import threadpool_limits

threadpool_limits(limits=1, user_api="blas")  # a plug-in of pytest may have loaded numpy already

# Few examples, always the same ones, so that a failure is a change of the code; `--hypothesis-profile=deep` searches.
settings.register_profile("fast", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile("fast")
