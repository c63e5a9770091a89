"""The network as a torch module, trained for its formats: an optional extra."""

from bfpc.errors import TrainingError

try:
    import torch  # noqa: F401
except ImportError:
    raise TrainingError("retraining needs PyTorch", where="import torch", fix="pip install 'bfpc[train]'") from None
