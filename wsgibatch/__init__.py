"""One HTTP request that carries many, for any Python web app."""

from .errors import (
    BadBatch,
    BatchRejected,
    ConfigError,
    DependencyCycle,
    DuplicateId,
    Forbidden,
    LengthRequired,
    NestedBatch,
    Overloaded,
    StoreError,
    TooLarge,
    TooManyItems,
    UnknownDependency,
    UnknownMediaType,
    WSGIBatchError,
)
from .model import Batch, Group, Head, SubRequest, SubResponse
from .settings import Settings
from .wsgi import BatchMiddleware

__all__ = (
    "BadBatch",
    "Batch",
    "BatchMiddleware",
    "BatchRejected",
    "ConfigError",
    "DependencyCycle",
    "DuplicateId",
    "Forbidden",
    "Group",
    "Head",
    "LengthRequired",
    "NestedBatch",
    "Overloaded",
    "Settings",
    "StoreError",
    "SubRequest",
    "SubResponse",
    "TooLarge",
    "TooManyItems",
    "UnknownDependency",
    "UnknownMediaType",
    "WSGIBatchError",
)
