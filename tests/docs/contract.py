"""What users rely on, name by name: the API and both programs as they were promised, whatever the description says now.

Arguments: limpet, limpetd, one ZooKeeper server. Nothing here may be changed together with the code: it is what programs
outside are written against. Says what does not hold, and ends with 1 then.
"""

import json
import os
import re
import stat
import subprocess

from agent import ENVIRONMENT, LIMPET, LIMPETD, SERVER, WORK, Agent, check, judged
from kazoo.client import KazooClient

VERBS = ("register deregister run list show status queue history events heartbeat wait leave prune dump doctor").split()
FLAGS = ("config zookeeper data-dir socket paths root session-timeout log-level check-config version help").split()
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ONE = "/v1/registrations/web/i-1"


def registrations(agent):
    status, shown, _ = agent.call("PUT", ONE, {"data": "hello"})
    check(status == 202, status)
    check({"id", "service", "instance", "path", "format", "data", "state", "reason", "seq", "accepted_at", "registered_at",
           "owner", "bind", "ttl", "expires_at", "znode"} <= set(shown), shown)
    status, shown, _ = agent.call("GET", ONE + "?wait=60s")
    session = agent.call("GET", "/v1/status")[1]["zookeeper"]["session"]
    check(status == 200, status)
    for key, value in {"id": "web/i-1", "service": "web", "instance": "i-1", "path": "/services/web/i-1", "format": "raw",
                       "data": "hello", "state": "registered", "reason": None, "seq": 1, "bind": "none", "ttl": None,
                       "expires_at": None}.items():
        check(shown[key] == value, f"{key}: {shown[key]}")
    check(shown["owner"] == {"uid": os.geteuid(), "pid": os.getpid()}, shown["owner"])
    check(TIME.fullmatch(shown["accepted_at"]) and TIME.fullmatch(shown["registered_at"]), shown)
    znode = shown["znode"]
    check(set(znode) == {"session", "czxid", "mzxid", "version"} and znode["session"] == session, znode)
    check(re.fullmatch("0x[0-9a-f]+", znode["czxid"]) and znode["version"] == 0, znode)
    in_zookeeper(shown)
    check(agent.call("PUT", ONE, {"data": "hello"})[:2] == (200, shown), "the same again changes nothing")
    status, update, _ = agent.call("PUT", ONE + "?wait=60s", {"data": {"b": 1, "a": [True, None]}})
    check((status, update["seq"], update["data"]) == (200, 2, '{"b":1,"a":[true,null]}'), update)
    check(update["znode"]["czxid"] == znode["czxid"], "updated in place")
    status, shown, _ = agent.call("PUT", "/v1/registrations/web/i-2?wait=60s", {"address": "10.0.0.7", "port": 8080, "metadata": {"zone": "a"}})
    check(shown["format"] == "json", shown)
    check(shown["data"] == '{"service":"web","instance":"i-2","address":"10.0.0.7","port":8080,"metadata":{"zone":"a"}}', shown)
    status, page, _ = agent.call("GET", "/v1/registrations?limit=1")
    check([one["id"] for one in page["registrations"]] == ["web/i-1"] and page["next"] == "web/i-1", page)
    status, page, _ = agent.call("GET", "/v1/registrations?after=web/i-1&service=web&state=registered")
    check([one["id"] for one in page["registrations"]] == ["web/i-2"] and page["next"] is None, page)
    check(agent.call("POST", ONE + "/heartbeat")[0] == 200, "heartbeat")
    check(agent.call("DELETE", ONE + "?wait=60s")[0] == 200, "DELETE with wait")
    check(agent.call("DELETE", "/v1/registrations/web/i-2")[0] == 202, "DELETE")
    for method, target in (("GET", ONE), ("DELETE", ONE), ("POST", ONE + "/heartbeat"), ("PUT", ONE + "/maintenance")):
        agent.refused(404, "not_found", method, target)


def in_zookeeper(shown):
    client = KazooClient(hosts=SERVER, timeout=20)
    client.start(timeout=60)
    data, facts = client.get("/main" + shown["path"])
    check(data == b"hello" and hex(facts.ephemeralOwner) == shown["znode"]["session"], facts)
    check(hex(facts.czxid) == shown["znode"]["czxid"], facts)
    for parent in ("/main/services", "/main/services/web"):
        data, facts = client.get(parent)
        check(data == b"" and facts.ephemeralOwner == 0, f"{parent}: {data} {facts}")
    client.stop()


def others(agent):
    operations = [{"op": "register", "service": "b", "instance": "1", "data": "x"},
                  {"op": "register", "service": "b", "instance": "2", "data": "x"}]
    status, results, _ = agent.call("POST", "/v1/batch", {"operations": operations})
    first, second = results["results"]
    check(status == 202 and second["seq"] == first["seq"] + 1, results)
    check(agent.call("POST", "/v1/batch?wait=60s", {"operations": operations})[0] == 200, "batch with wait")
    problem = agent.refused(422, "invalid", "POST", "/v1/batch", {"operations": [{**operations[0], "data": "new"}, {"op": "?"}]})
    check(problem["index"] == 1, problem)
    check(agent.call("GET", "/v1/registrations/b/1")[1]["data"] == "x", "nothing of a refused batch is accepted")
    check(agent.call("PUT", "/v1/registrations/b/1/maintenance", {"reason": "disk"})[0] == 200, "maintenance")
    check(agent.call("GET", "/v1/registrations/b/1")[1]["state"] == "maintenance", "maintenance")
    check(agent.call("DELETE", "/v1/registrations/b/1/maintenance")[0] == 200, "maintenance")
    check(agent.call("PUT", "/v1/maintenance", {"reason": "kernel"})[0] == 200, "maintenance of the host")
    check(agent.call("DELETE", "/v1/maintenance")[0] == 200, "maintenance of the host")
    check(set(agent.call("GET", "/v1/queue?limit=5&after=0")[1]) == {"operations", "next"}, "queue")
    entries = agent.call("GET", "/v1/history?service=b&instance=2&limit=5")[1]["entries"]
    check(entries and entries == sorted(entries, key=lambda entry: -entry["event"]), entries)
    check(all(entry["seq"] < second["seq"] for entry in agent.call("GET", f"/v1/history?before={second['seq']}")[1]["entries"]
              if entry["seq"]), "before")
    agent.refused(410, "too_old", "GET", "/v1/events?since=99999999")
    check(set(agent.call("POST", "/v1/reload")[1]) >= {"applied", "needs_restart"}, "reload")
    check(agent.call("GET", "/v1/openapi.json")[1]["openapi"].startswith("3.1"), "openapi")
    status, text, headers = agent.call("GET", "/metrics")
    check(status == 200 and headers["Content-Type"].startswith("text/plain") and "\nlimpet_" in text, "metrics")
    check(agent.call("GET", "/healthz")[0] == 200, "healthz")
    check(agent.call("GET", "/readyz")[1]["degraded"] is False, "readyz")
    check(agent.call("POST", "/v1/leave")[0] == 202, "leave")
    check(agent.call("POST", "/v1/leave?wait=60s")[0] == 200, "leave with wait")
    status = agent.call("GET", "/v1/status")[1]
    for place, keys in {
        "": "version pid started_at zookeeper queue registrations storage",
        "zookeeper": "state session server session_timeout_ms since reattached sessions",
        "queue": "depth bytes oldest_age_ms last_seq applied_seq max_operations",
        "registrations": "total registered pending suspended conflict blocked unhealthy maintenance removing",
        "storage": "healthy error bytes",
    }.items():
        part = status[place] if place else status
        check(set(keys.split()) <= set(part), f"status {place}: {sorted(part)}")
    check(status["queue"]["max_operations"] == 1_000_000 and status["queue"]["last_seq"] >= second["seq"], status)
    check(status["zookeeper"]["reattached"] is False and status["zookeeper"]["sessions"] >= 1, status)
    check(status["storage"]["error"] is None and status["storage"]["healthy"] is True, status)


def limits(agent):
    def put(body, name="limits/i-1"):
        return agent.call("PUT", f"/v1/registrations/{name}", body)[0]

    allowed = "AZaz09._:%40%2B%3D~%25%2C-"
    for good in (allowed, "x" * 255):
        check(put({}, f"{good}/{good}") == 202, f"the name {good}")
    for bad in (".", "..", "x" * 256, "a%2Fb", "a%20b", "%C3%A4", "a%00"):
        agent.refused(422, "invalid", "PUT", f"/v1/registrations/{bad}/i-1", {})
    nested = lambda depth: '{"data":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    check(put(nested(32)) == 202, "depth 32")
    agent.refused(400, "bad_json", "PUT", ONE, nested(33))
    check(put({"data": "x" * 1_000_000}, "limits/large") == 202, "1,000,000 bytes of data")
    agent.refused(413, "too_large", "PUT", ONE, {"data": "x" * 1_000_001})
    check(put("{}" + " " * (2**20 - 2)) in (200, 202), "a body of 1 MiB")
    agent.refused(413, "too_large", "PUT", ONE, "{}" + " " * (2**20 - 1))
    agent.refused(431, None, "GET", "/v1/status", headers={"X-Long": "x" * 16_384})
    check(put({"path": "/services/p/" + "x" * 8180}, "limits/path") == 202, "a path of 8,192 bytes")
    agent.refused(422, "invalid", "PUT", ONE, {"path": "/services/p/" + "x" * 8181})
    agent.refused(403, "not_allowed", "PUT", ONE, {"path": "/elsewhere/x"})
    agent.refused(409, "path_taken", "PUT", ONE, {"path": "/services/limits/large"})
    for good in ({"ttl": "1s"}, {"ttl": "24h"}, {"expires": "1s"}, {"data_base64": "AP8="}, {"bind": "process"},
                 {"bind": "process", "pid": os.getpid()},
                 {"checks": [{"type": "tcp", "address": "127.0.0.1:80", "interval": "10s", "timeout": "1s", "rise": 1, "fall": 3},
                             {"type": "http", "url": "http://127.0.0.1/", "status": "2xx"},
                             {"type": "command", "command": ["true"]}]}):
        check(put(good, "limits/fields") in (200, 202), f"{good}")
    for bad in ({"ttl": "999ms"}, {"ttl": "86401s"}, {"expires": "999ms"}, {"port": 0}, {"port": 65536}, {"port": "80"},
                {"colour": "red"}, {"format": "xml"}, {"bind": "life"}, {"metadata": {"a": 1}}, {"data_base64": "?"}):
        check(agent.refused(422, "invalid", "PUT", ONE, bad)["errors"][0]["pointer"] == "/" + next(iter(bad)).split("/")[0] or
              "metadata" in bad, f"{bad}: the pointer")
    agent.refused(400, "bad_json", "PUT", ONE, '{"data":"x","data":"y"}')
    agent.refused(400, "bad_json", "PUT", ONE, "{")
    agent.refused(415, None, "PUT", ONE, "x", {"Content-Type": "text/plain"})
    agent.refused(405, None, "POST", ONE)
    agent.refused(404, "not_found", "GET", "/v1/nothing")
    for query in ("limit=0", "limit=10001", "limit=x", "state=lost", "after=x", "colour=red"):
        agent.refused(400, "bad_request", "GET", "/v1/registrations?" + query)
    agent.refused(400, "bad_request", "PUT", ONE + "?wait=soon", {})


def command_line(agent):
    def ends(status, *words):
        done = agent.limpet(*words)
        check(done.returncode == status, f"limpet {' '.join(words)}: {done.returncode}, not {status}; {done.stderr}")
        return done

    known = agent.limpet("--help").stdout
    for verb in VERBS:
        check(re.search(rf"^  {verb} ", known, flags=re.M), f"limpet has no {verb}")
    for option in "data data-file address port metadata format ttl pid expires wait".split():
        check(f"--{option}" in agent.limpet("register", "--help").stdout, f"limpet register has no --{option}")
    ends(0, "register", "cli", "1", "--address", "10.0.0.7", "--port", "8080", "--metadata", "a=b", "--metadata", "c=d", "--wait", "60s")
    check(json.loads(ends(0, "--json", "show", "cli", "1").stdout)["data"].endswith('"metadata":{"a":"b","c":"d"}}'), "show")
    ends(0, "wait", "cli", "1")
    for verb in ("list", "status", "queue", "history"):
        check(isinstance(json.loads(ends(0, "--json", verb).stdout), dict), verb)
    ends(0, "register", "cli", "2", "--ttl", "1h", "--data", "x")
    ends(0, "heartbeat", "cli", "2")
    ends(0, "deregister", "cli", "2", "--wait", "60s")
    ends(7, "run", "cli", "3", "--", "sh", "-c", "exit 7")
    ends(128 + 15, "run", "cli", "3", "--", "sh", "-c", "kill $$")
    ends(1, "deregister", "cli", "none")
    ends(1, "register", "cli", "a b")
    ends(2, "register")
    ends(2, "bogus")
    ends(2, "register", "cli", "1", "--bogus")
    ends(0, "leave", "--wait", "60s")
    done = subprocess.run([LIMPET, "status"], env={**ENVIRONMENT, "LIMPET_SOCKET": str(WORK / "none")}, capture_output=True,
                          text=True, check=False)
    check(done.returncode == 3 and "no such socket" in done.stderr, done)


def outage_and_bounds():
    """Agents that never see ZooKeeper: they serve all the same."""
    agent = Agent("away", "127.0.0.1:1", "--max-registrations", "2").start()
    check(agent.call("PUT", ONE, {"data": "x"})[0] == 202, "accepted without ZooKeeper")
    check(agent.call("PUT", ONE + "?wait=10ms", {"data": "y"})[0] == 202, "a wait that runs out")
    shown = agent.call("GET", ONE)[1]
    check(shown["state"] == "pending" and shown["znode"] is None, shown)
    check({"code", "message", "since", "attempts"} == set(shown["reason"]), shown["reason"])
    status = agent.call("GET", "/v1/status")[1]
    check(status["zookeeper"]["state"] == "connecting" and status["queue"]["depth"] == 1, status)
    check(agent.call("GET", "/readyz")[::2][0] == 200 and agent.call("GET", "/readyz")[1]["degraded"] is True, "readyz")
    check(agent.limpet("register", "web", "i-1", "--data", "z", "--wait", "10ms").returncode == 4, "exit 4")
    check(agent.limpet("wait", "web", "i-1", "--timeout", "10ms").returncode == 4, "exit 4")
    what = {entry["what"] for entry in agent.call("GET", "/v1/history?service=web")[1]["entries"]}
    check({"accepted", "superseded"} <= what, what)
    check(agent.call("PUT", "/v1/registrations/web/i-2", {})[0] == 202, "the second of two")
    agent.refused(429, "quota", "PUT", "/v1/registrations/web/i-3", {})
    held = subprocess.run([word.replace("limpet.sock", "other.sock") for word in agent.words], env=ENVIRONMENT, capture_output=True, text=True,
                          check=False)
    check(held.returncode == 3 and held.stderr.count("\n") == 1, f"in use: {held}")
    check(agent.limpet("dump", str(agent.state)).returncode == 1, "dump of an agent that runs")
    check(agent.stop() == 0, "exit 0")
    dump = agent.limpet("--json", "dump", str(agent.state))
    check(dump.returncode == 0 and "web/i-1" in dump.stdout, dump)
    (agent.state / "FORMAT").write_text("nonsense")
    damaged = subprocess.run(agent.words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    check(damaged.returncode == 4 and damaged.stderr.count("\n") == 1, f"damaged: {damaged}")
    full = Agent("full", "127.0.0.1:1", "--max-operations", "1").start()
    check(full.call("PUT", ONE, {})[0] == 202, "the first")
    full.refused(507, "queue_full", "PUT", "/v1/registrations/web/i-2", {})
    full.stop()


def program(agent):
    """limpetd's own command line, and what it makes."""
    check(stat.S_IMODE(os.stat(agent.socket).st_mode) == 0o660, "the socket's mode")
    check(stat.S_IMODE(os.stat(agent.state).st_mode) == 0o700, "the state's mode")

    def ends(status, *words, **more):
        done = subprocess.run([LIMPETD, *words], env={**ENVIRONMENT, **more}, capture_output=True, text=True, check=False)
        check(done.returncode == status and (status == 0 or done.stderr.count("\n") == 1), f"limpetd {words}: {done}")
        return done.stdout

    text = ends(0, "--help")
    for flag in FLAGS:
        check(f"--{flag}" in text, f"limpetd has no --{flag}")
    for default in ("/etc/limpet/limpet.json", "/var/lib/limpet", "/run/limpet/limpet.sock", "/services", "10s", "info"):
        check(f"[{default}]" in text, f"the default {default}")
    ends(0, "--version")
    config = WORK / "config.json"
    config.write_text('{\n  // a comment\n  "session_timeout": "5s"\n}\n')
    ends(0, "--check-config", "--config", str(config))
    ends(2, "--check-config", "--config", str(config), LIMPET_SESSION_TIMEOUT="long")
    config.write_text('{"sesion_timeout": "5s"}')
    ends(2, "--check-config", "--config", str(config))
    ends(2, "--config", str(WORK / "none.json"))
    ends(2, "--bogus")
    ends(2, "--log-level", "loud", "--config", "/dev/null")


with judged():
    main = Agent("main", SERVER + "/main").start()
    for part in (registrations, others, limits, command_line, program):
        part(main)
    check(main.stop() == 0, "exit 0")
    outage_and_bounds()
