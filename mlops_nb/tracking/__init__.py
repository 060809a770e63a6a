"""Recording runs: the handle that user code holds, its journal, and the delivery to the store."""
