"""The same requests in one batch, through a route that a user of FastAPI would write: it sends each of them to its own server, over HTTP.

They are sent side by side, on ten connections that stay open. Left to itself, httpx opens a hundred for the first batch, closes most of them
again, and goes on with fewer than ten, no faster; nor is it faster where all hundred stay open. It is served as FastAPI's documentation says:
uvicorn, with its faster parts.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request

PACKAGES = ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", "httpx==0.28.1")

LIMITS = httpx.Limits(max_connections=10, max_keepalive_connections=10, keepalive_expiry=None)


@asynccontextmanager
async def _with_client(app: FastAPI) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    async with httpx.AsyncClient(limits=LIMITS) as client:
        yield {"client": client}


app = FastAPI(lifespan=_with_client)


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    return {"number": number}


@app.post("/batch")
async def batch(request: Request) -> dict[str, Any]:
    sent = (await request.json())["batch"]
    answers = await asyncio.gather(*(_answered(request, one) for one in sent))
    return {"batch": list(answers)}


async def _answered(request: Request, one: dict[str, Any]) -> dict[str, Any]:
    url = str(request.base_url).rstrip("/") + one["url"]
    answer = await request.state.client.request(one["method"], url, headers=one.get("headers"), content=one.get("body"))
    return {"status_code": answer.status_code, "reason_phrase": answer.reason_phrase, "headers": dict(answer.headers), "body": answer.text}
