"""The measurements, each a function of (bench, plan) that returns what it found as plain numbers.

What is compared is measured in alternation, round by round, so that a slow minute of the machine hits all alike.
"""
import datetime
import json
import os
import signal
import subprocess
import time

from peers import Agent, Ensemble, Redis, wait_until

LOADS = [("1", 1, 1), ("16", 16, 1), ("64", 64, 1)]  # name, clients, pipeline
BODY_BYTES = 256


class Plan:
    """How long and how often."""

    def __init__(self, quick=False, long=False):
        self.quick = quick
        self.long = long
        self.rounds = 1 if quick else 7
        self.seconds = 0.15 if quick else 1.0
        self.few_rounds = 1 if quick else 3
        self.replays = [200] if quick else [1_000, 10_000]
        self.creates = 256 if quick else 4_000
        self.hosts = 5 if quick else 200
        self.agents = 3 if quick else 60
        self.changes = 20_000 if quick else (10_000_000 if long else 1_000_000)


def add(results, name, value):
    results.setdefault(name, []).append(value)


# ---- 1 and 2: registrations


def load(bench, results, name, first, plan, *arguments):
    # A batch's number counts sixteen registrations; none may repeat what stands, or there is nothing to be written.
    apart = 10**9 if "batch" in arguments else 0
    found = bench.run("bench_load", "--seconds", plan.seconds, "--bytes", BODY_BYTES, "--first", first + apart,
                      *arguments)
    add(results, name, {key: found[key] for key in ("rate", "p50_us", "p99_us")})
    return found["next"] - apart


def limpet_loads(bench, agent, results, plan, first, prefix):
    for name, clients, _ in LOADS:
        first = load(bench, results, f"{prefix}.{name}", first, plan, "--socket", agent.socket, "--clients", clients)
    return load(bench, results, f"{prefix}.batch", first, plan, "--socket", agent.socket, "--clients", 16, "--kind",
                "batch")


def registrations(bench, plan):
    """The floor, Redis and limpet in turn, with ZooKeeper away."""
    results = {}
    redis = Redis(bench)
    agent = Agent(bench)
    first = {"redis": 0, "limpet": 0}
    for _ in range(plan.rounds):
        floor = bench.run("bench_floor", "--file", bench.path("floor"), "--bytes", BODY_BYTES, "--seconds",
                          plan.seconds / 2)
        add(results, "floor", {key: floor[key] for key in ("rate", "p50_us", "p99_us")})
        for name, clients, pipeline in [*LOADS, ("batch", 16, 16)]:
            first["redis"] = load(bench, results, f"redis.{name}", first["redis"], plan, "--protocol", "resp",
                                  "--socket", redis.socket, "--clients", clients, "--pipeline", pipeline)
            kind = "batch" if name == "batch" else "put"
            first["limpet"] = load(bench, results, f"limpet.{name}", first["limpet"], plan, "--socket",
                                   agent.socket, "--clients", clients, "--kind", kind)
            if name == "1":
                again = bench.run("bench_floor", "--file", bench.path("floor"), "--seconds", plan.seconds / 2)
                add(results, "floor", {key: again[key] for key in ("rate", "p50_us", "p99_us")})
    agent.stop()
    redis.stop()
    return results


def registrations_connected(bench, plan):
    """The same of limpet alone, with three servers there, which share the machine's cores."""
    results = {}
    ensemble = Ensemble(bench)
    ensemble.start()
    agent = Agent(bench, ensemble.hosts)
    wait_until(lambda: agent.status()["zookeeper"]["state"] == "connected", "the session")
    first = 0
    for _ in range(plan.few_rounds):
        first = limpet_loads(bench, agent, results, plan, first, "connected")
        began = time.monotonic()
        agent.wait_settled(120)
        add(results, "settled_after_s", time.monotonic() - began)
    agent.stop()
    ensemble.kill()
    return results


# ---- 3 and 4: replay

PLAIN = [("sequential", 1, 0), ("pipelined 64", 64, 0), ("pipelined 256", 256, 0), ("pipelined 4096", 4096, 0),
         ("multi 8", 1, 8), ("multi 32", 1, 32), ("multi 128", 1, 128), ("multi 128, 4 in flight", 4, 128),
         ("multi 1024, 2 in flight", 2, 1024)]


def plain_client(bench, plan):
    """ZooKeeper's own C client, and the known remedy, on three servers."""
    results = {}
    ensemble = Ensemble(bench)
    ensemble.start()
    redis = Redis(bench)
    # The servers' Java is slow until it has been at it for a while.
    for turn in range(1 if plan.quick else 4):
        bench.run("bench_zk", "--hosts", ensemble.hosts, "--parent", f"/warm/{turn}", "--count", plan.creates,
                  "--in-flight", 64, "rate")
    for turn in range(plan.few_rounds):
        for number, (name, in_flight, per_multi) in enumerate(PLAIN[::3] if plan.quick else PLAIN):
            count = min(plan.creates, 1_000) if name == "sequential" else plan.creates
            count *= 2 if per_multi > 8 else 1
            found = bench.run("bench_zk", "--hosts", ensemble.hosts, "--parent", f"/plain/{turn}-{number}", "--count",
                              count, "--in-flight", in_flight, "--per-multi", per_multi, "rate")
            add(results, name, found["rate"])
        remedy = [os.path.join(os.path.dirname(__file__), "known_remedy.py")]
        subprocess.run(["/usr/bin/python3", *remedy, "fill", redis.socket, str(min(1_000, plan.creates)), "200"],
                       check=True, stdout=subprocess.DEVNULL)
        out = subprocess.run(["/usr/bin/python3", *remedy, "drain", redis.socket, ensemble.hosts, f"/remedy/{turn}"],
                             check=True, capture_output=True, text=True)
        add(results, "kazoo + Redis", json.loads(out.stdout)["rate"])
    redis.stop()
    ensemble.kill()
    return results


def replay_once(bench, ensemble, count):
    """An outage: `count` registrations are accepted, then the servers come back."""
    parent = f"/replay-{time.monotonic_ns()}"
    agent = Agent(bench, ensemble.hosts, root=parent)
    agent.register(count)
    before = bench.begin("bench_zk", "--hosts", ensemble.hosts, "--parent", parent, "--seconds", 90, "first")
    last = bench.begin("bench_zk", "--hosts", ensemble.hosts, "--parent", f"{parent}/bench", "--count", count,
                       "--last", f"i-{count - 1}", "--seconds", 90, "children")
    ensemble.start(wait=False)
    first = bench.result(before)["at"]
    done = bench.result(last)
    agent.wait_settled()
    agent.stop()
    return {"first_of_limpet_ms": (done["first"] - first) * 1e3, "last_ms": (done["at"] - first) * 1e3,
            "ms": (done["at"] - done["first"]) * 1e3}


def replay_session(bench, ensemble, count):
    """The servers are there, warm, and the agent makes a new session: all that it holds is created anew. Measured from
    the session to the last znode."""
    parent = f"/session-{time.monotonic_ns()}"
    agent = Agent(bench, "127.0.0.1:1", root=parent)
    agent.register(count)
    agent.stop()
    agent.hosts = ensemble.hosts
    looker = bench.begin("bench_zk", "--hosts", ensemble.hosts, "--parent", f"{parent}/bench", "--count", count,
                         "--last", f"i-{count - 1}", "--seconds", 90, "children")
    time.sleep(0.3)
    transactions = ensemble.zxid()
    agent.start()
    done = bench.result(looker)
    agent.wait_settled()
    transactions = ensemble.zxid() - transactions
    since = datetime.datetime.fromisoformat(agent.status()["zookeeper"]["since"]).timestamp()
    # Or the end of its session would cost the servers as much again, in the middle of a later round.
    agent.ask("POST", "/v1/leave")
    agent.wait_settled()
    agent.stop()
    took = done["at"] + (time.time() - time.monotonic()) - since
    return {"ms": took * 1e3, "rate": count / max(took, 1e-3), "transactions": transactions}


PLAIN_BEST = [(4, 512), (2, 1024)]  # in flight, creates in each: what the plain client is quickest with


def plain_multi(bench, ensemble, count, results=None):
    """The plain client at creating as many, on the same servers in the same round."""
    for in_flight, per_multi in PLAIN_BEST:
        found = bench.run("bench_zk", "--hosts", ensemble.hosts, "--parent", f"/multi/{time.monotonic_ns()}", "--count",
                          count, "--in-flight", in_flight, "--per-multi", per_multi, "rate")
        if results is not None:
            add(results, f"plain.{count}.multi {per_multi}, {in_flight} in flight", found["rate"])


def replay(bench, plan):
    results = {}
    ensemble = Ensemble(bench)
    for count in plan.replays:
        # Who of two clients is back first is a matter of luck, of a tenth of a second or two: it takes many rounds.
        for _ in range(2 * plan.rounds if count < 10_000 else plan.few_rounds):
            ensemble.kill()
            for key, value in replay_once(bench, ensemble, count).items():
                add(results, f"outage.{count}.{key}", value)
    wait_until(ensemble.serves, "the servers")
    for turn in range(1 if plan.quick else 3):
        bench.run("bench_zk", "--hosts", ensemble.hosts, "--parent", f"/warm/{turn}", "--count", plan.creates,
                  "--in-flight", 64, "rate")
        plain_multi(bench, ensemble, plan.replays[-1])
    for count in plan.replays:
        for _ in range(2 * plan.rounds):
            plain_multi(bench, ensemble, count, results)
            for key, value in replay_session(bench, ensemble, count).items():
                add(results, f"session.{count}.{key}", value)
    for key, value in replay_session(bench, ensemble, 50).items():
        add(results, f"session.50.{key}", value)
    ensemble.kill()
    return results


def herd(bench, plan):
    """Many hosts of 50 registrations heal at once, while another client writes: by single creates and by multi, with
    the plain client in all of them; and real agents after an outage."""
    results = {}
    ensemble = Ensemble(bench)
    ensemble.start()
    bench.run("bench_zk", "--hosts", ensemble.hosts, "--parent", "/warm", "--count", plan.creates, "--in-flight", 64,
              "rate")
    for turn in range(plan.few_rounds):
        for name, in_flight, per_multi in [("single", 16, 0), ("multi", 1, 50)]:
            bystander = bench.begin("bench_zk", "--hosts", ensemble.hosts, "--parent", "/herd", "--rate", 100,
                                    "bystander")
            bystander.stdout.readline()
            transactions = ensemble.zxid()
            found = bench.run("bench_zk", "--hosts", ensemble.hosts, "--parent", f"/herd/{name}-{turn}", "--sessions",
                              plan.hosts, "--count", 50, "--in-flight", in_flight, "--per-multi", per_multi,
                              "--session-timeout-ms", 4_000, "herd")
            transactions = ensemble.zxid() - transactions
            bystander.send_signal(signal.SIGTERM)
            seen = bench.result(bystander)
            add(results, f"{name}.seconds", found["seconds"])
            add(results, f"{name}.transactions_per_host", transactions / plan.hosts)
            add(results, f"{name}.bystander_p50_us", seen["p50_us"])
            add(results, f"{name}.bystander_p99_us", seen["p99_us"])
            time.sleep(0 if plan.quick else 5)  # until those sessions have expired
    ensemble.kill()
    if not plan.quick:
        herd_of_agents(bench, plan, ensemble, results)
    return results


def herd_of_agents(bench, plan, ensemble, results):
    agents = [Agent(bench, ensemble.hosts, root=f"/agents/{i}", start=False) for i in range(plan.agents)]
    for agent in agents:
        agent.start()
        agent.register(50)
    first = bench.begin("bench_zk", "--hosts", ensemble.hosts, "--parent", "/first", "--seconds", 90, "first")
    ensemble.start(wait=False)
    began = bench.result(first)["at"]
    for agent in agents:
        wait_until(lambda: agent.status()["registrations"]["registered"] == 50, "an agent of the herd", 120, 0.02)
    add(results, "agents.hosts", plan.agents)
    add(results, "agents.seconds", time.monotonic() - began)
    for agent in agents:
        agent.stop(signal.SIGKILL)
    ensemble.kill()


# ---- 5: reads


def share_of_core(agent, seconds, load):
    before = agent.cpu_s()
    found = load()
    return (agent.cpu_s() - before) / seconds, found


def reads(bench, plan):
    results = {}
    agent = Agent(bench)
    agent.register(100)
    seconds = plan.seconds * 2
    reading = [("list", "/v1/registrations"), ("status", "/v1/status")]
    for _ in range(plan.few_rounds):
        for name, target in reading:
            arguments = ["--socket", agent.socket, "--kind", "get", "--target", target, "--rate", 1_000, "--seconds",
                         seconds]
            share, found = share_of_core(agent, seconds, lambda: bench.run("bench_load", *arguments))
            add(results, f"{name}.cores", share)
            writes = bench.begin("bench_load", "--socket", agent.socket, "--clients", 64, "--seconds", seconds + 0.5,
                                 "--names", 100, "--first", 1_000_000_000 + time.monotonic_ns() % 10**9)
            time.sleep(0.3)
            busy = bench.run("bench_load", *arguments)
            bench.result(writes)
            add(results, f"{name}.idle_p99_us", found["p99_us"])
            add(results, f"{name}.busy_p50_us", busy["p50_us"])
            add(results, f"{name}.busy_p99_us", busy["p99_us"])
    agent.stop()
    return results


# ---- 6 and 7: memory, idling, starting


def footprint(bench, plan):
    results = {}
    if not plan.quick:
        footprint_connected(bench, results)
    agent = Agent(bench)
    agent.register(10_000 if not plan.quick else 1_000)
    time.sleep(0.5)
    add(results, "resident_kib.queued", agent.resident_kib())
    agent.stop()
    for _ in range(plan.rounds):
        add(results, "start_ms", agent.start() * 1e3)
        agent.stop()
    return results


def footprint_connected(bench, results):
    idle_s = 20
    ensemble = Ensemble(bench)
    ensemble.start()
    for registrations in (100, 10_000):
        agent = Agent(bench, ensemble.hosts, root=f"/footprint-{registrations}")
        agent.register(registrations)
        agent.wait_settled()
        agent.stop()
        agent.start()
        wait_until(lambda: agent.status()["registrations"]["registered"] == registrations, "all to be registered")
        time.sleep(0.5)
        add(results, f"resident_kib.{registrations}", agent.resident_kib())
        if registrations == 100:
            before = agent.cpu_s()
            time.sleep(idle_s)
            add(results, "idle_cores.connected", (agent.cpu_s() - before) / idle_s)
            ensemble.kill()
            time.sleep(1)
            before = agent.cpu_s()
            time.sleep(idle_s)
            add(results, "idle_cores.away", (agent.cpu_s() - before) / idle_s)
            ensemble.start()
        agent.stop()
    ensemble.kill()


# ---- 8: growth


def instructions(bench, agent, requests):
    """Instructions for each of `requests` changes, by callgrind, on the state that the agent has."""
    log = bench.new_path("callgrind")
    agent.wrapper = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={log}", "--instr-atstart=no"]
    agent.start()
    arguments = ["--socket", agent.socket, "--clients", 16, "--names", 1_000]
    bench.run("bench_load", *arguments, "--requests", 300, "--first", 10**10)
    switch = ["callgrind_control", "-i"]
    subprocess.run([*switch, "on", str(agent.process.pid)], check=True, capture_output=True)
    bench.run("bench_load", *arguments, "--requests", requests, "--first", 10**10 + 10**6)
    subprocess.run([*switch, "off", str(agent.process.pid)], check=True, capture_output=True)
    agent.stop()
    agent.wrapper = []
    with open(log) as file:
        for line in file:
            if line.startswith("totals:"):
                return int(line.split()[1]) / requests
    return 0


def growth(bench, plan):
    """A change after a thousand others, and after very many; and what disk and memory come to meanwhile."""
    results = {}
    agent = Agent(bench)
    bench.run("bench_load", "--socket", agent.socket, "--clients", 16, "--requests", 1_000, "--names", 1_000)
    agent.stop()
    requests = 500 if plan.quick else 3_000
    if not plan.quick:
        results["instructions.early"] = instructions(bench, agent, requests)
    agent.start()
    done = 1_000
    parts = 4 if plan.quick else 10
    each = plan.changes // parts
    for part in range(parts):
        before = agent.cpu_s()
        bench.run("bench_load", "--socket", agent.socket, "--clients", 16, "--kind", "batch", "--names", 1_000,
                  "--requests", each // 16, "--first", 10**6 + (part + 1) * 10**8, timeout=3_600)
        done += each
        add(results, "changes", done)
        add(results, "cpu_us_per_change", (agent.cpu_s() - before) / each * 1e6)
        add(results, "disk_mib", agent.disk_bytes() / 2**20)
        add(results, "resident_mib", agent.resident_kib() / 1024)
    agent.stop()
    if not plan.quick:
        results["instructions.late"] = instructions(bench, agent, requests)
    return results


# ---- The parts, each by itself


def micro(bench, plan):
    out = subprocess.run([bench.program("bench_micro"), "--benchmark_format=json",
                          f"--benchmark_min_time={0.01 if plan.quick else 0.3}"], check=True, capture_output=True,
                         text=True)
    found = json.loads(out.stdout)
    return {one["name"]: {"ns": one["cpu_time"]} for one in found["benchmarks"]}


SECTIONS = {"registrations": registrations, "connected": registrations_connected, "plain": plain_client,
            "replay": replay, "herd": herd, "reads": reads, "footprint": footprint, "growth": growth, "micro": micro}
