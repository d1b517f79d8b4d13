"""One HTTP request that carries many, for any Python web app."""

from .errors import (
    BadBatch,
    BatchRejected,
    ConfigError,
    Forbidden,
    LengthRequired,
    NestedBatch,
    TooLarge,
    TooManyItems,
    UnknownMediaType,
    WSGIBatchError,
)
from .model import Batch, Head, SubRequest, SubResponse
from .settings import Settings
from .wsgi import BatchMiddleware

__all__ = (
    "BadBatch",
    "Batch",
    "BatchMiddleware",
    "BatchRejected",
    "ConfigError",
    "Forbidden",
    "Head",
    "LengthRequired",
    "NestedBatch",
    "Settings",
    "SubRequest",
    "SubResponse",
    "TooLarge",
    "TooManyItems",
    "UnknownMediaType",
    "WSGIBatchError",
)
