"""LMM families over transformers and peft: loading, adapters, batches.

Nothing is imported here: a driver asks for folders and fingerprints only, and need not wait for
transformers and peft.
"""

import logging

# It warns of kernels that only its fastest path on a CPU would use, wherever peft is imported.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
