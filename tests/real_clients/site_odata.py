"""The services that clients of OData and of Azure talk to: apps that know nothing of batches, and the same behind the batch endpoints of clients.

Each keeps what it is told in memory. A changeset that fails puts it back as it was; the tests send one batch at a time.
"""

import contextlib
import copy
import itertools
import re
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.urls import iri_to_uri

from tests.real_clients.site import EXECUTORS
from tests.servers import run
from wsgibatch import BatchMiddleware, Group

ACCOUNT = "devstoreaccount1"

METADATA = """<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx" xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata">
 <edmx:DataServices m:DataServiceVersion="2.0">
  <Schema Namespace="Site" xmlns="http://schemas.microsoft.com/ado/2008/09/edm">
   <EntityType Name="Person">
    <Key><PropertyRef Name="Name"/></Key>
    <Property Name="Name" Type="Edm.String" Nullable="false"/>
    <Property Name="Age" Type="Edm.Int32"/>
   </EntityType>
   <EntityContainer Name="Everything" m:IsDefaultEntityContainer="true"><EntitySet Name="People" EntityType="Site.Person"/></EntityContainer>
  </Schema>
 </edmx:DataServices>
</edmx:Edmx>
"""

Refusal = tuple[Response, int, dict[str, str]]


class Kept(dict[Any, Any]):
    """What a service keeps; all of it, or nothing, of what a group changes."""

    @contextlib.contextmanager
    def atomic(self) -> Iterator[Group]:
        before = copy.deepcopy(dict(self))
        try:
            yield Group()
        except BaseException:
            self.clear()
            self.update(before)
            raise


def people(kept: Kept) -> Flask:
    """A service of OData 2: people, known by their names."""
    app = Flask(__name__)

    def shown(name: str) -> dict[str, Any]:
        return {"__metadata": {"uri": f"{request.host_url}odata/People('{name}')", "type": "Site.Person"}, **kept[name]}

    @app.get("/odata/$metadata")
    def metadata() -> Response:
        return Response(METADATA, mimetype="application/xml")

    @app.get("/odata/People")
    def everybody() -> Response:
        wanted = re.fullmatch("Name eq '(.*)'", request.args.get("$filter", ""))
        return jsonify(d={"results": [shown(name) for name in kept if wanted is None or name == wanted[1]]})

    @app.post("/odata/People")
    def add() -> Any:
        person = request.get_json()
        if person["Age"] < 0:
            return _odata_error(400, "an age is not negative")
        kept[person["Name"]] = person
        return jsonify(d=shown(person["Name"])), 201, {"Location": f"{request.host_url}odata/People('{person['Name']}')"}

    @app.route("/odata/People(<key>)", methods=["GET", "PATCH", "PUT", "MERGE", "DELETE"])
    def person(key: str) -> Any:
        name = key.removeprefix("Name=")[1:-1].replace("''", "'")
        if name not in kept:
            return _odata_error(404, f"nobody is called {name}")
        if request.method == "GET":
            return jsonify(d=shown(name))
        if request.method == "DELETE":
            del kept[name]
        else:
            kept[name] = {**kept[name], **request.get_json()}
        return "", 204

    return app


def _odata_error(status: int, message: str) -> Refusal:
    return jsonify(error={"code": "Refused", "message": {"lang": "en", "value": message}}), status, {}


def tables(kept: Kept) -> Flask:
    """Tables of Azure's storage: entities, known by their table, partition and row, of which each state has a tag."""
    app = Flask(__name__)
    states = itertools.count(1)

    def written(key: tuple[str, str, str], entity: dict[str, Any]) -> tuple[str, int, dict[str, str]]:
        tag = f'W/"state {next(states)}"'
        kept[key] = {**entity, "odata.etag": tag}
        return "", 204, {"ETag": tag, "DataServiceId": iri_to_uri(request.url)}

    @app.post(f"/{ACCOUNT}/<table>")
    def insert(table: str) -> Any:
        entity = request.get_json()
        key = (table, entity["PartitionKey"], entity["RowKey"])
        return _table_error(409, "EntityAlreadyExists", "The entity is there already.") if key in kept else written(key, entity)

    @app.get(f"/{ACCOUNT}/<table>()")
    def query(table: str) -> Response:
        return jsonify(value=[entity for key, entity in kept.items() if key[0] == table])

    @app.route(f"/{ACCOUNT}/<table>(PartitionKey='<partition>',RowKey='<row>')", methods=["GET", "PATCH", "PUT", "MERGE", "DELETE"])
    def entity(table: str, partition: str, row: str) -> Any:
        key = (table, partition.replace("''", "'"), row.replace("''", "'"))
        wanted = request.headers.get("If-Match")
        if key not in kept and (wanted or request.method in ("GET", "DELETE")):
            return _table_error(404, "ResourceNotFound", "The entity is not there.")
        if wanted not in (None, "*") and wanted != kept[key]["odata.etag"]:
            return _table_error(412, "UpdateConditionNotSatisfied", "The entity has changed.")
        if request.method == "GET":
            return jsonify(kept[key]), 200, {"ETag": kept[key]["odata.etag"]}
        if request.method == "DELETE":
            del kept[key]
            return "", 204
        return written(key, request.get_json() if request.method == "PUT" else {**kept.get(key, {}), **request.get_json()})

    return app


def _table_error(status: int, code: str, message: str) -> Refusal:
    # Azure has the place of an operation in its transaction before the message.
    place = request.environ.get("wsgibatch.item")
    value = message if place is None else f"{place}:{message}"
    return jsonify({"odata.error": {"code": code, "message": {"lang": "en-US", "value": value}}}), status, {"x-ms-error-code": code}


def blobs(kept: Kept) -> Flask:
    """Blobs of Azure's storage, known by their container and name."""
    app = Flask(__name__)

    @app.before_request
    def check() -> Any:
        # Each request is signed by itself, and the version of the API is that of its batch, if need be.
        signed = re.match(rf"SharedKey {ACCOUNT}:\S+\Z", request.headers.get("Authorization", ""))
        return None if signed and "x-ms-version" in request.headers else _blob_error(403, "AuthenticationFailed")

    @app.route(f"/{ACCOUNT}/<container>/<path:name>", methods=["PUT"])
    def put(container: str, name: str) -> Any:
        if request.args.get("comp") != "tier":
            kept[container, name] = "Hot"
            return "", 201, {"ETag": '"any"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if (container, name) not in kept:
            return _blob_error(404, "BlobNotFound")
        kept[container, name] = request.headers["x-ms-access-tier"]
        return "", 200

    @app.get(f"/{ACCOUNT}/<container>/<path:name>")
    def look(container: str, name: str) -> Any:
        if (container, name) not in kept:
            return _blob_error(404, "BlobNotFound")
        return "", 200, {"ETag": '"any"', "x-ms-access-tier": kept[container, name], "x-ms-blob-type": "BlockBlob"}

    @app.delete(f"/{ACCOUNT}/<container>/<path:name>")
    def delete(container: str, name: str) -> Any:
        if kept.pop((container, name), None) is None:
            return _blob_error(404, "BlobNotFound")
        return "", 202

    return app


def _blob_error(status: int, code: str) -> Refusal:
    document = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>It says {code}.</Message></Error>'
    return Response(document, mimetype="application/xml"), status, {"x-ms-error-code": code}


def odata(executor: str, profile: str) -> BatchMiddleware:
    kept = Kept()
    return BatchMiddleware(people(kept), path="/odata/$batch", dialect="multipart", profile=profile, executor=executor, atomic=kept.atomic)


def azure_tables(executor: str, profile: str) -> BatchMiddleware:
    kept = Kept()
    path = f"/{ACCOUNT}/$batch"
    return BatchMiddleware(tables(kept), path=path, dialect="multipart", profile=profile, executor=executor, atomic=kept.atomic)


def azure_blob(executor: str, profile: str) -> BatchMiddleware:
    """Batches of an account, and of each container, told by their query."""
    return BatchMiddleware(blobs(Kept()), path="*?comp=batch", dialect="multipart", profile=profile, executor=executor)


def ways(profile: str) -> list[tuple[str, str]]:
    """Each executor, with the *profile* named and recognised."""
    return [(executor, name) for executor in EXECUTORS for name in (profile, "auto")]


@contextlib.contextmanager
def served(factory: str, way: tuple[str, str]) -> Iterator[str]:
    """A gunicorn that serves what *factory* here makes in one of its :func:`ways`; gives its base url."""
    with run.gunicorn("--worker-class", "gthread", "--threads", "4", f"{__name__}:{factory}{way!r}") as base:
        yield base
