"""Draws results as SVG, readable on a light and on a dark page. Bars lie, so that their names can be read."""
import os
from statistics import median

STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.note { fill: #57606a; font-size: 12px }
.limpet { fill: #0b6bcb } .peer { fill: #8c959f } .spread { stroke: #24292f; stroke-width: 1.2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note { fill: #9198a1 } .limpet { fill: #4ba3ff } .peer { fill: #6e7681 }
.spread { stroke: #e6edf3 } }
</style>"""
NAMES, BARS, VALUES, LINE, BAR = 250, 400, 110, 24, 16


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def bars(title, note, groups, unit):
    """`groups`: lists of (name, css class, values); the bar is the median, the line from the least to the most."""
    top = 62
    most = max(max(values) for group in groups for _, _, values in group)
    parts = []
    y = top
    for group in groups:
        for name, kind, values in group:
            middle = median(values)
            width = max(1.0, BARS * middle / most)
            centre = y + BAR / 2
            parts.append(f'<text x="{NAMES - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
            parts.append(f'<rect class="{kind}" x="{NAMES}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>')
            low, high = (NAMES + BARS * value / most for value in (min(values), max(values)))
            if high - low > 2:
                parts.append(f'<path class="spread" d="M{low:.1f} {centre}H{high:.1f}"/>')
            parts.append(f'<text x="{max(high, NAMES + width) + 8:.1f}" y="{y + 13}">{middle:,.0f}{unit}</text>')
            y += LINE
        y += 10
    width = NAMES + BARS + VALUES
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" '
            f'role="img" aria-label="{escape(title)}">\n{STYLE}\n'
            f'<text class="title" x="12" y="24">{escape(title)}</text>\n'
            f'<text class="note" x="12" y="44">{escape(note)}</text>\n' + "\n".join(parts) + "\n</svg>\n")


def of(section, name, key):
    return [value[key] for value in section.get(name, [])]


def registrations(section):
    groups = []
    for name, label in [("1", "1 client"), ("16", "16 clients"), ("64", "64 clients"), ("batch", "16 × 16 in one go")]:
        if section.get(f"limpet.{name}") and section.get(f"redis.{name}"):
            groups.append([(f"limpet, {label}", "limpet", of(section, f"limpet.{name}", "rate")),
                           (f"Redis, {label}", "peer", of(section, f"redis.{name}", "rate"))])
    return groups and bars("Durable registrations per second", "256 bytes each, fsynced before the answer; ZooKeeper "
                           "away; Redis 7 with appendfsync always; more is better", groups, "")


def latency(section):
    groups = []
    if section.get("floor"):
        groups.append([("the disk: append + fdatasync", "peer", of(section, "floor", "p50_us"))])
    for name, label in [("1", "1 client"), ("16", "16 clients"), ("64", "64 clients")]:
        if section.get(f"limpet.{name}") and section.get(f"redis.{name}"):
            groups.append([(f"limpet, {label}", "limpet", of(section, f"limpet.{name}", "p50_us")),
                           (f"Redis, {label}", "peer", of(section, f"redis.{name}", "p50_us"))])
    return groups and bars("Time to a durable answer, p50", "microseconds; less is better", groups, " µs")


def replay(plain, section):
    group = [(name if name.startswith("kazoo") else f"C client, {name}", "peer", values)
             for name, values in plain.items() if values]
    group.sort(key=lambda bar: median(bar[2]))
    for name, label in [("session.1000.rate", "1,000"), ("session.10000.rate", "10,000")]:
        if section.get(name):
            group.append((f"limpet's replay of {label}", "limpet", section[name]))
    return group and bars("Znodes created per second", "ephemeral, 200 bytes, three servers; more is better", [group], "")


def draw(found, directory):
    sections = found["sections"]
    alone = sections.get("registrations", {})
    for name, text in [("registrations", registrations(alone)), ("latency", latency(alone)),
                       ("replay", replay(sections.get("plain", {}), sections.get("replay", {})))]:
        if text:
            with open(os.path.join(directory, f"{name}.svg"), "w") as file:
                file.write(text)
