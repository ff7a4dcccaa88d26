"""Turns results into the table of what was to be reached and what was."""
from statistics import median


def numbers(section, name, key=None):
    values = section.get(name, [])
    values = values if isinstance(values, list) else [values]
    return [value[key] if key else value for value in values]


def middle(section, name, key=None):
    values = numbers(section, name, key)
    return median(values) if values else None


def quarters(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4 - (0 if len(ordered) % 4 else 1)]


def spread(values, form):
    if len(values) < 3:
        return ""
    low, high = quarters(values)
    return f"{form(low)} to {form(high)}"


def thousands(value):
    return f"{value:,.0f}"


def ratios(section, above, below, key="rate"):
    """Round by round, because a round's neighbours had the same machine."""
    return [a / b for a, b in zip(numbers(section, above, key), numbers(section, below, key))]


class Row:
    def __init__(self, number, what, values, target, met, form, note=""):
        self.number, self.what, self.target, self.note = number, what, target, note
        self.value = form(median(values)) if values else "not measured"
        self.spread = spread(values, form) if values else ""
        self.met = "" if not values else "yes" if met(median(values)) else "no"


def times(value):
    return f"{value:.2f} ×"


def at_least(limit):
    return lambda value: value >= limit


def at_most(limit):
    return lambda value: value <= limit


def registration_rows(section):
    rows = []
    for name, label, limit in [("1", "1 client", 1.0), ("16", "16 clients", 1.2), ("64", "64 clients", 1.0),
                               ("batch", "16 clients, batches of 16", 1.0)]:
        rate = middle(section, f"limpet.{name}", "rate")
        redis = middle(section, f"redis.{name}", "rate")
        note = f"limpet {thousands(rate)}/s, Redis {thousands(redis)}/s" if rate and redis else ""
        rows.append(Row("1", f"registrations, {label}: limpet / Redis",
                        ratios(section, f"limpet.{name}", f"redis.{name}"), f"≥ {limit} ×", at_least(limit), times,
                        note))
    floor = middle(section, "floor", "p50_us")
    above = [p50 - floor for p50 in numbers(section, "limpet.1", "p50_us")] if floor else []
    rows.append(Row("1", "one client's p50 above the disk's floor", above, "≤ 80 µs", at_most(80),
                    lambda v: f"{v:.0f} µs", f"floor {floor:.0f} µs" if floor else ""))
    rows.append(Row("1", "p99 at 64 clients: limpet / Redis", ratios(section, "limpet.64", "redis.64", "p99_us"),
                    "≤ 1.0 ×", at_most(1.0), times))
    return rows


def connected_rows(section, alone):
    rows = []
    for name, label in [("1", "1 client"), ("16", "16 clients"), ("64", "64 clients"), ("batch", "batches of 16")]:
        base = middle(alone, f"limpet.{name}", "rate")
        values = [rate / base for rate in numbers(section, f"connected.{name}", "rate")] if base else []
        rate = middle(section, f"connected.{name}", "rate")
        redis = middle(alone, f"redis.{name}", "rate")
        note = f"limpet {thousands(rate)}/s, {rate / redis:.2f} × Redis" if rate and redis else ""
        rows.append(Row("2", f"with ZooKeeper there, {label}: / with it away", values, "≥ 0.5 ×", at_least(0.5), times,
                        note))
    return rows


def replay_rows(section, plain):
    rows = []
    pipelined = max((middle(plain, name) or 0 for name in plain if name.startswith("pipelined")), default=0)
    kazoo = middle(plain, "kazoo + Redis") or 0
    rates = numbers(section, "session.10000.rate")
    # The better of the ways that were tried, in all rounds: the better in each would be luck as well.
    way = max((name for name in section if name.startswith("plain.10000.")), key=lambda name: middle(section, name),
              default="")
    rounds = [a / b for a, b in zip(rates, numbers(section, way))]
    best = middle(section, way)
    rows.append(Row("3", "replay of 10,000: / the plain client's best multi", rounds, "≥ 0.8 ×", at_least(0.8), times,
                    f"{thousands(best)}/s" if best else ""))
    for label, base, limit in [("the plain client's best pipelined creates", pipelined, 5),
                               ("kazoo + Redis, the known remedy", kazoo, 30)]:
        rows.append(Row("3", f"replay of 10,000: / {label}", [rate / base for rate in rates] if base else [],
                        f"≥ {limit} ×", at_least(limit), times, f"{thousands(base)}/s" if base else ""))
    rows.append(Row("3", "10,000 re-established on a new session", numbers(section, "session.10000.ms"), "≤ 1,000 ms",
                    at_most(1_000), lambda v: f"{v:,.0f} ms"))
    rows.append(Row("3", "transactions for a host with 50", numbers(section, "session.50.transactions"), "≤ 5",
                    at_most(5), lambda v: f"{v:.0f}", "with the session's own and the parents'"))
    rows.append(Row("4", "last of 1,000 queued, after the plain client's first create",
                    numbers(section, "outage.1000.last_ms"), "≤ 100 ms", at_most(100), lambda v: f"{v:,.0f} ms"))
    return rows


def herd_rows(section):
    rows = []
    for name, label in [("single", "single creates"), ("multi", "one multi each")]:
        note = ""
        if section.get(f"{name}.bystander_p99_us"):
            note = (f"{middle(section, f'{name}.transactions_per_host'):.1f} transactions a host; another client's "
                    f"write meanwhile p50 {middle(section, f'{name}.bystander_p50_us') / 1e3:.1f} ms, "
                    f"p99 {middle(section, f'{name}.bystander_p99_us') / 1e3:.1f} ms")
        rows.append(Row("3", f"200 hosts of 50 at once, plain client, {label}", numbers(section, f"{name}.seconds"), "",
                        lambda v: True, lambda v: f"{v:.2f} s", note))
    hosts = middle(section, "agents.hosts")
    rows.append(Row("3", f"{hosts or 0:.0f} real agents of 50 after an outage", numbers(section, "agents.seconds"), "",
                    lambda v: True, lambda v: f"{v:.2f} s", "from the first create that succeeds"))
    return rows


def read_rows(section):
    rows = []
    for name, label in [("list", "1,000 listings of 100 registrations a second"), ("status", "1,000 status reads a second")]:
        rows.append(Row("5", label, numbers(section, f"{name}.cores"), "≤ 0.1 core", at_most(0.1),
                        lambda v: f"{v:.3f} core"))
        rows.append(Row("5", "p99 of these while 64 clients write",
                        [v / 1e3 for v in numbers(section, f"{name}.busy_p99_us")], "≤ 1 ms", at_most(1),
                        lambda v: f"{v:.2f} ms"))
    return rows


def footprint_rows(section):
    def kib(v):
        return f"{v / 1024:.1f} MiB"
    rows = [Row("6", "resident, idle, 100 registrations", numbers(section, "resident_kib.100"), "≤ 20 MiB",
                at_most(20 * 1024), kib)]
    few, many = middle(section, "resident_kib.100"), middle(section, "resident_kib.10000")
    rows.append(Row("6", "each further registration", [(many - few) / 9_900] if few and many else [], "≤ 1 KiB",
                    at_most(1), lambda v: f"{v:.2f} KiB"))
    rows.append(Row("6", "10,000 queued changes", numbers(section, "resident_kib.queued"), "≤ 48 MiB",
                    at_most(48 * 1024), kib))
    rows.append(Row("6", "idle, ZooKeeper there", [v * 100 for v in numbers(section, "idle_cores.connected")],
                    "≤ 0.1 % of a core", at_most(0.1), lambda v: f"{v:.3f} %"))
    rows.append(Row("6", "idle, ZooKeeper away", [v * 100 for v in numbers(section, "idle_cores.away")],
                    "≤ 1 % of a core", at_most(1), lambda v: f"{v:.3f} %"))
    rows.append(Row("7", "start to serving, 10,000 registrations", numbers(section, "start_ms"), "≤ 100 ms",
                    at_most(100), lambda v: f"{v:.0f} ms"))
    return rows


def growth_rows(section):
    early, late = section.get("instructions.early"), section.get("instructions.late")
    changes = numbers(section, "changes")
    after = thousands(changes[-1]) if changes else "many"
    rows = [Row("8", f"instructions of a change after {after}: / after 1,000", [late / early] if early and late else [],
                "≤ 1.1 ×", at_most(1.1), times, f"{thousands(early)} and {thousands(late)}" if early and late else "")]
    disk = numbers(section, "disk_mib")
    memory = numbers(section, "resident_mib")
    rows.append(Row("8", "disk, at most", [max(disk)] if disk else [], "bounded", lambda v: v < 200,
                    lambda v: f"{v:.0f} MiB", "64 MiB of it history"))
    rows.append(Row("8", "memory, at most", [max(memory)] if memory else [], "bounded", lambda v: v < 100,
                    lambda v: f"{v:.0f} MiB"))
    return rows


def rows_of(found):
    sections = found["sections"]
    rows = []
    if "registrations" in sections:
        rows += registration_rows(sections["registrations"])
    if "connected" in sections:
        rows += connected_rows(sections["connected"], sections.get("registrations", {}))
    if "replay" in sections or "plain" in sections:
        rows += replay_rows(sections.get("replay", {}), sections.get("plain", {}))
    if "herd" in sections:
        rows += herd_rows(sections["herd"])
    if "reads" in sections:
        rows += read_rows(sections["reads"])
    if "footprint" in sections:
        rows += footprint_rows(sections["footprint"])
    if "growth" in sections:
        rows += growth_rows(sections["growth"])
    return rows


def table(found, markdown=False):
    rows = [("", "what", "median", "quarters", "target", "met", "")]
    rows += [(r.number, r.what, r.value, r.spread, r.target, r.met if r.target else "", r.note) for r in rows_of(found)]
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        return "\n".join(lines) + "\n"
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
