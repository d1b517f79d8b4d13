"""One HTTP request that carries many, for any Python web app."""

from .errors import (
    BadBatch,
    BatchFailed,
    BatchRejected,
    ClientError,
    ConfigError,
    DependencyCycle,
    DuplicateId,
    Forbidden,
    LengthRequired,
    MissingResponse,
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
    "BatchFailed",
    "BatchMiddleware",
    "BatchRejected",
    "ClientError",
    "ConfigError",
    "DependencyCycle",
    "DuplicateId",
    "Forbidden",
    "Group",
    "Head",
    "LengthRequired",
    "MissingResponse",
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
