"""One folder an operation: contract, reference, autograd, and one file a backend."""
