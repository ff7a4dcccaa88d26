"""Holds the API's description against what a real agent takes and answers.

Arguments: the agent's socket, openapi.json, and which part: `calm` with ZooKeeper there, `outage` without it. Says what
does not agree, and ends with 1 then. Every answer must be of a status and a shape that the description gives for its
call, with no field that it does not name; bodies at their bounds are taken and refused by both.
"""

import http.client
import json
import os
import re
import socket
import sys
import time

import jsonschema

SOCKET, FILE, PART = sys.argv[1:4]
METHODS = ("get", "put", "post", "delete")


def strict(schema):
    """Objects have the fields that they are described with, and no others."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            strict(value)
    elif isinstance(schema, list):
        for value in schema:
            strict(value)


with open(FILE, encoding="utf-8") as file:
    document = json.load(file)
strict(document["components"]["schemas"])
resolver = jsonschema.RefResolver(base_uri="", referrer=document)
faults = []
seen = set()


def resolve(value):
    return resolver.resolve(value["$ref"])[1] if "$ref" in value else value


def fault_of(schema, value):
    validator = jsonschema.Draft202012Validator(schema, resolver=resolver)
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    return None if error is None else f"/{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:300]}"


def template_of(target):
    path = target.split("?")[0]
    for template in sorted(document["paths"], key=lambda text: text.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return template
    return None


class UnixConnection(http.client.HTTPConnection):
    def __init__(self):
        super().__init__("localhost", timeout=120)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def send(method, target, body=None, headers=None):
    connection = UnixConnection()
    connection.request(method, target, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def call(method, target, body=None, headers=None, expect=None):
    """Calls, and holds the answer against the description. Returns status and body."""
    text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
    answer, content = send(method, target, text, headers)
    what = f"{method} {target} {str(text or '')[:120]} -> {answer.status}"
    template = template_of(target)
    operation = document["paths"].get(template, {}).get(method.lower(), {})
    responses = operation.get("responses", {"default": {"$ref": "#/components/responses/problem"}})
    described = responses.get(str(answer.status)) or responses["default"]
    if str(answer.status) not in responses and answer.status < 400:
        faults.append(f"{what}: this status is not described")
    if expect is not None and answer.status != expect:
        faults.append(f"{what}: {expect} is expected; {content[:300]!r}")
    described = resolve(described)
    media = answer.headers.get("Content-Type")
    if media not in described["content"]:
        faults.append(f"{what}: Content-Type {media} is not described")
        return answer.status, None
    shown = json.loads(content) if "json" in media else content.decode()
    error = fault_of(described["content"][media]["schema"], shown)
    if error:
        faults.append(f"{what}: {error}; in {content[:600]!r}")
    if answer.status >= 400 and shown.get("status") != answer.status:
        faults.append(f"{what}: the problem's status is {shown.get('status')}")
    specific = resolver.resolve(f"#/components/responses/{answer.status}")[1] if answer.status >= 400 else described
    for name, header in specific.get("headers", {}).items():
        if header.get("required") and name not in answer.headers:
            faults.append(f"{what}: there is no header {name}")
    seen.add((method.lower(), template, answer.status))
    return answer.status, shown


def put(body, expect, name="probe/i-1"):
    """A body that agent and description take alike (expect < 300), or refuse alike."""
    status, _ = call("PUT", f"/v1/registrations/{name}", body, expect=expect)
    error = fault_of({"$ref": "#/components/schemas/RegistrationRequest"}, body)
    if (status < 300) != (error is None):
        faults.append(f"PUT {str(body)[:200]}: the agent answers {status}, the description says: {error or 'right'}")
    operation = {"op": "register", "service": "web", "instance": "i-1"}
    if isinstance(body, dict):
        inner = fault_of({"$ref": "#/components/schemas/Operation"}, {**operation, **body})
        if (inner is None) != (error is None):
            faults.append(f"{body}: described one way alone and another in a batch: {error}; {inner}")


def wait_for(condition, what):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    faults.append(f"{what} does not come about")


def check_document():
    """The description itself: of this version, whole, and with nothing in it that leads nowhere."""
    version = call("GET", "/v1/status")[1]["version"]
    if document["info"]["version"] != version:
        faults.append(f"it describes version {document['info']['version']}, the agent is {version}")
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        if name not in json.dumps(document["paths"]) + json.dumps(document["components"]):
            faults.append(f"nothing uses the schema {name}")
    identifiers = []
    for template, methods in document["paths"].items():
        given = {resolve(parameter)["name"] for parameter in methods.get("parameters", [])}
        if given != set(re.findall(r"\{(\w+)\}", template)):
            faults.append(f"{template}: its parameters are {given}")
        for method in METHODS:
            if method in methods:
                identifiers.append(methods[method]["operationId"])
                assert methods[method]["summary"] and "default" in methods[method]["responses"]
    if len(identifiers) != len(set(identifiers)):
        faults.append("an operationId is there twice")

    def follow(value):
        if isinstance(value, dict):
            if "$ref" in value:
                resolver.resolve(value["$ref"])
            for inner in value.values():
                follow(inner)
        elif isinstance(value, list):
            for inner in value:
                follow(inner)

    follow(document)


def bodies():
    name = "probe/i-1"
    endpoint = {"address": "10.0.0.7", "port": 8080}
    good = [
        {},
        {"data": ""},
        {"data": {"a": [1, None, True]}},
        {"data": None},
        {"data_base64": "/wA="},
        {"address": "a" * 255, "port": 1, "metadata": {"zone": "a", "": ""}},
        {"port": 65535, "format": "json"},
        {"ttl": "1s"},
        {"ttl": "24h", "expires": "1s"},
        {"ttl": None, "expires": None, "checks": None, "pid": None},
        {"bind": "none", "expires": "8784h"},
        {"bind": "process", "pid": os.getpid()},
        {"bind": "process"},
        {"path": "/services/other/" + "x" * (8192 - 16)},
        {"path": "/services/other/\u00e4 $;[fd00::1]:8080"},
        {"checks": []},
        {"checks": [{"type": "tcp", "address": "127.0.0.1:1", "interval": "24h", "timeout": "1m", "rise": 1000, "fall": 1000}] * 16},
        {"checks": [{"type": "tcp", "address": "[::1]:80", "interval": "100ms", "timeout": "10ms", "rise": 1, "fall": 1}]},
        {"checks": [{"type": "http", "url": "http://127.0.0.1:1/health", "status": "200,3xx"}]},
        {"checks": [{"type": "http", "url": "http+unix://%2Frun%2Fapp.sock/health"}]},
        {"checks": [{"type": "command", "command": ["true"] * 64}]},
    ]
    bad = [
        [],
        {"unknown": 1},
        {"data_base64": 7},
        {"address": ""},
        {"address": "a" * 256},
        {"port": 0},
        {"port": 65536},
        {"port": "80"},
        {"port": 80.5},
        {"metadata": {"a": 1}},
        {"metadata": []},
        {"format": "xml"},
        {"path": "relative"},
        {"path": "/services/a//b"},
        {"path": "/services/a/" + "x" * 8192},
        {"ttl": "30"},
        {"ttl": 30},
        {"ttl": "1d"},
        {"bind": "forever"},
        {"bind": "process", "pid": 0},
        {"bind": "process", "pid": 2**31},
        {"checks": {}},
        {"checks": [{"type": "tcp"}]},
        {"checks": [{"type": "ping", "address": "x"}]},
        {"checks": [{"type": "tcp", "address": "127.0.0.1:1", "url": "http://x/"}]},
        {"checks": [{"type": "tcp", "address": "127.0.0.1:1", "rise": 0}]},
        {"checks": [{"type": "tcp", "address": "127.0.0.1:1", "fall": 1001}]},
        {"checks": [{"type": "http"}]},
        {"checks": [{"type": "command", "command": []}]},
        {"checks": [{"type": "command", "command": ["x"] * 65}]},
        {"checks": [{"type": "tcp", "address": "127.0.0.1:1"}] * 17},
    ]
    for body in good:
        put(body, 202)
        short = "1s" in (body.get("ttl"), body.get("expires"))  # it may be gone by itself
        call("DELETE", f"/v1/registrations/{name}?wait=60s", expect=None if short else 200)
    put({"bind": "connection"}, 202, "probe/i-2")  # and goes at once: each call has a connection of its own
    for body in bad:
        put(body, 422)
    for form in ("curator", "spring", "serverset", "nerve"):
        put({"format": form, **endpoint}, 202, f"forms/{form}")
    # Bounds that only words can give.
    for body in ({"ttl": "999ms"}, {"ttl": "25h"}, {"expires": "999ms"}, {"pid": 1}, {"data": "x", "data_base64": "eA=="},
                 {"data": "x", "port": 1}, {"data": "x", "format": "nerve"}, {"format": "nerve"}, {"data_base64": "?"},
                 {"path": "/zookeeper/x"}, {"path": "/services/."}, {"path": "/services" + "/x" * 32},
                 {"path": "/services/a/\u007f"}, {"path": "/services/a/\U0001f600"},
                 {"checks": [{"type": "tcp", "address": "127.0.0.1:1", "interval": "99ms"}]},
                 {"checks": [{"type": "tcp", "address": "127.0.0.1:1", "timeout": "61s"}]},
                 {"checks": [{"type": "http", "url": "ftp://x"}]}):
        call("PUT", f"/v1/registrations/{name}", body, expect=422)


def calls():
    one = "/v1/registrations/web/i-1"
    call("PUT", one + "?wait=60s", {"address": "10.0.0.7", "port": 8080, "ttl": "1h"}, expect=200)
    call("PUT", one, {"address": "10.0.0.7", "port": 8080, "ttl": "1h"}, expect=200)
    call("GET", one + "?wait=1s", expect=200)
    call("POST", one + "/heartbeat", expect=200)
    call("PUT", one + "/maintenance", {"reason": "new disk"}, expect=200)
    call("GET", one, expect=200)
    call("DELETE", one + "/maintenance", expect=200)
    call("PUT", "/v1/maintenance", {"reason": None}, expect=200)
    call("GET", "/v1/status", expect=200)
    call("DELETE", "/v1/maintenance", expect=200)
    failing = {"checks": [{"type": "tcp", "address": "127.0.0.1:1", "interval": "100ms", "fall": 1}], "bind": "process"}
    call("PUT", "/v1/registrations/web/i-2", failing, expect=202)
    wait_for(lambda: call("GET", "/v1/registrations/web/i-2")[1]["state"] == "unhealthy", "a check that fails")
    call("PUT", "/v1/registrations/web/i-3", {"data_base64": "/w==", "expires": "1h"}, expect=202)
    for query in ("", "?limit=1", "?limit=10000", "?service=web&state=unhealthy", "?after=web/i-1"):
        call("GET", "/v1/registrations" + query, expect=200)
    operations = [{"op": "register", "service": "b", "instance": "1", "data": "x"},
                  {"op": "deregister", "service": "web", "instance": "i-3"}]
    call("POST", "/v1/batch", {"operations": operations}, expect=202)
    call("POST", "/v1/batch?wait=60s", {"operations": operations[:1]}, expect=200)
    call("POST", "/v1/batch", {"operations": [operations[0], {"op": "deregister", "service": "b", "instance": "9"}]}, expect=422)
    call("POST", "/v1/batch", {"operations": [{**operations[0], "port": "x"}]}, expect=422)
    call("PUT", "/v1/registrations/b/2", {"path": "/services/b/1"}, expect=409)
    call("PUT", "/v1/registrations/b/2", {"path": "/elsewhere/b"}, expect=403)
    for query in ("", "?limit=2", "?service=web&instance=i-1", "?before=3", "?before_event=4"):
        call("GET", "/v1/history" + query, expect=200)
    call("GET", "/v1/events?since=999999999", expect=410)
    for target in ("/v1/queue?limit=1&after=0", "/v1/openapi.json", "/metrics", "/healthz", "/readyz"):
        call("GET", target, expect=200)
    call("POST", "/v1/reload", expect=200)
    call("POST", "/v1/prune", expect=200)
    call("POST", "/v1/prune", {"older_than": "0s", "dry_run": True, "service": "web"}, expect=200)
    call("POST", "/v1/prune", {"older_than": "soon"}, expect=422)
    call("GET", "/v1/registrations/no/such", expect=404)
    call("DELETE", "/v1/registrations/no/such", expect=404)
    call("GET", "/v1/registrations/no%20such/name", expect=422)
    call("GET", "/v1/nothing", expect=404)
    call("PATCH", one, expect=405)
    call("PUT", one, "{", expect=400)
    call("PUT", one, '{"data":"x","data":"y"}', expect=400)
    call("GET", "/v1/status?colour=red", expect=400)
    call("GET", "/v1/registrations?limit=0", expect=400)
    call("GET", "/v1/registrations?limit=10001", expect=400)
    call("PUT", one, "x", {"Content-Type": "text/plain"}, expect=415)
    call("PUT", one, "{}", {"Expect": "the best"}, expect=417)
    call("PUT", one, {"data": "x" * 1_000_001}, expect=413)
    call("GET", "/v1/status", headers={"X": "x" * 17_000}, expect=431)
    call("DELETE", one, expect=202)
    call("PUT", "/v1/registrations/web/i-4?wait=0ms", {"data": "x"})  # 202, or 200 where ZooKeeper is that quick
    events()
    call("POST", "/v1/leave?wait=60s", expect=200)
    call("POST", "/v1/leave", expect=200)
    call("PUT", "/v1/registrations/web/stands?wait=60s", {"data": "x"}, expect=200)  # for the outage


def events():
    connection = UnixConnection()
    connection.request("GET", "/v1/events?since=0")
    answer = connection.getresponse()
    schema = resolve(document["paths"]["/v1/events"]["get"]["responses"]["200"])["content"]["application/x-ndjson"]["schema"]
    if answer.headers["Content-Type"] != "application/x-ndjson":
        faults.append(f"events: Content-Type {answer.headers['Content-Type']}")
    kinds = set()
    newest = call("GET", "/v1/history?limit=1")[1]["entries"][0]["event"]
    while True:
        entry = json.loads(answer.readline())
        kinds.add(entry["what"])
        error = fault_of(schema, entry)
        if error:
            faults.append(f"events: {error} in {entry}")
        if entry["event"] >= newest:
            break
    connection.close()
    for kind in ("accepted", "registered", "removed", "maintenance_on", "unhealthy", "agent_started", "session_connected"):
        if kind not in kinds:
            faults.append(f"events: {kind} was not seen")


def outage():
    wait_for(lambda: call("GET", "/v1/status")[1]["zookeeper"]["state"] != "connected", "an outage")
    one = "/v1/registrations/web/late"
    call("PUT", one + "?wait=10ms", {"data": "x"}, expect=202)
    wait_for(lambda: call("GET", one)[1]["reason"] is not None, "a reason")
    call("GET", one + "?wait=10ms", expect=200)
    call("GET", "/v1/queue", expect=200)
    call("GET", "/v1/registrations?state=pending", expect=200)
    if call("GET", "/readyz", expect=200)[1]["degraded"] is not True:
        faults.append("readyz is not degraded")
    call("POST", "/v1/prune", expect=409)
    call("POST", "/v1/leave?wait=10ms", expect=202)
    if call("GET", "/v1/registrations/web/stands", expect=200)[1]["state"] != "removing":
        faults.append("web/stands is not being removed")
    call("DELETE", "/v1/registrations/web/stands", expect=202)
    call("GET", "/v1/queue", expect=200)
    call("GET", "/v1/status", expect=200)


if PART == "calm":
    check_document()
    bodies()
    calls()
    described = {(method, template) for template, methods in document["paths"].items() for method in METHODS if method in methods}
    never = described - {(method, template) for method, template, status in seen if status < 300} - {("get", "/v1/events")}
    if never:
        faults.append(f"nobody called {sorted(never)} with success")
else:
    outage()
for fault in faults:
    print(fault)
print(f"{len(seen)} kinds of answers, {len(faults)} faults")
sys.exit(1 if faults else 0)
