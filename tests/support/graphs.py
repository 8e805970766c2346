"""TensorFlow's graphs as they are written: the tests' graphs are rewritten longer than they run.

The processes that tests start, and scripts/check_*.py, rewrite them as a user's do.
"""

from __future__ import annotations

import os


def leave_graphs_as_written() -> None:
    """Turn TensorFlow's graph rewriter off in this process; nothing on JAX."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
