"""Kinto, with everything in memory, and a hundred records that anybody may read; they are what :func:`benchmarks.work.records` asks for."""

import json
from io import BytesIO
from typing import Any

import kinto

from ..work import environ_of

label = "Kinto"
COUNT = 100


def _made() -> Any:
    settings = {
        "userid_hmac_secret": "measured, not served",
        "multiauth.policies": "basicauth",
        "storage_backend": "kinto.core.storage.memory",
        "permission_backend": "kinto.core.permission.memory",
        "cache_backend": "kinto.core.cache.memory",
        "bucket_create_principals": "system.Authenticated",
        "batch_max_requests": COUNT,
    }
    made = kinto.main({}, **settings)
    _put(made, "/v1/buckets/shop", {"permissions": {"read": ["system.Everyone"]}})
    _put(made, "/v1/buckets/shop/collections/items", {})
    for number in range(COUNT):
        _put(made, f"/v1/buckets/shop/collections/items/records/{number}", {"data": {"number": number}})
    return made


def _put(made: Any, path: str, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    environ = environ_of("PUT", path, {"Content-Type": "application/json", "Authorization": "Basic YW5uYTphbm5h"}, body)
    seen: list[str] = []
    answer = b"".join(made({**environ, "wsgi.input": BytesIO(body)}, lambda status, headers, exc_info=None: seen.append(status)))
    if seen != ["201 Created"]:
        raise RuntimeError(f"Kinto answered {seen} to PUT {path}: {answer!r}")


app = _made()
