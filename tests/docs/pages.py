"""Holds what people read against what machines read. Argument: the source directory.

API.md names the calls, parameters, fields and words of openapi.json, and no others. What OPERATIONS.md quotes as said
by the programs, they can say. Links lead somewhere. Prints what does not agree, and ends with 1 then.
"""

import json
import pathlib
import re
import sys

top = pathlib.Path(sys.argv[1])
faults = []


def read(path):
    return (top / path).read_text(encoding="utf-8")


def sections(text):
    """Heading -> what stands under it, without code blocks."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    parts = re.split(r"^#+ (.*)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def rows(section):
    """The cells of each row of its tables, without their headings."""
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def agree(what, shown, described):
    if set(shown) != set(described):
        faults.append(f"API.md, {what}: missing {sorted(set(described) - set(shown))}, "
                      f"not in openapi.json {sorted(set(shown) - set(described))}")


def check_api_page():
    document = json.loads(read("agent/api/openapi.json"))
    schemas = document["components"]["schemas"]
    page = sections(read("agent/docs/API.md"))
    calls = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                given = operation.get("parameters", [])
                parameters = document["components"]["parameters"]
                calls[f"{method.upper()} {path}"] = {
                    (parameters[one["$ref"].rsplit("/", 1)[1]] if "$ref" in one else one)["name"] for one in given}
    shown = {names(row[0])[0]: set(names(row[1])) for row in rows(page["Calls"])}
    agree("Calls", shown, calls)
    for call in shown.keys() & calls.keys():
        agree(call, shown[call], calls[call])
    for heading, described in (
        ("Fields of a registration", schemas["RegistrationRequest"]["properties"]),
        ("States", schemas["State"]["enum"]),
        ("Reasons", schemas["Reason"]["properties"]["code"]["enum"]),
        ("Formats", schemas["Format"]["enum"]),
        ("History", schemas["HistoryEntry"]["properties"]["what"]["enum"]),
        ("Problems", schemas["Problem"]["properties"]["code"]["enum"]),
    ):
        agree(heading, [names(row[0])[0] for row in rows(page[heading])], described)
    for code, status, _ in rows(page["Problems"]):
        answer = document["components"]["responses"].get(status, {})
        if names(code)[0] + ":" not in answer.get("description", ""):
            faults.append(f"API.md: {code} is not a problem of status {status}")


def check_quotes():
    """What the programs are quoted with, they say, but for what they put in: each `…` in the first column of the table of
    symptoms, and the status that the README shows."""
    said = ""
    for file in sorted([*top.glob("agent/**/*.cc"), *top.glob("storage/*.cc")]):
        said += re.sub(r'"\s*\n\s*"', "", file.read_text(encoding="utf-8")) + "\n"
    said = said.replace('\\"', '"')
    found = 0
    for row in rows(sections(read("agent/docs/OPERATIONS.md"))["What to do when…"]):
        for quote in names(row[0]):
            for piece in filter(None, (part.strip() for part in quote.split("…"))):
                found += 1
                if piece not in said:
                    faults.append(f"OPERATIONS.md quotes what nobody says: {piece}")
    shown = re.search(r"^## Look at an outage$.*?^```text\n(.*?)^```$", read("README.md"), flags=re.M | re.S)
    if " ".join(shown.group(1).split()) not in said:
        faults.append("README.md shows a status that is not said so")
    if found < 20:
        faults.append(f"OPERATIONS.md: only {found} quotes are found")


def check_links():
    pages = [top / "README.md", *sorted(top.glob("agent/docs/*.md"))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path) if path else page
            if not file.exists():
                faults.append(f"{page.name}: {target} leads nowhere")
            elif anchor and file.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.M)
                anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
                if anchor not in anchors:
                    faults.append(f"{page.name}: there is no heading {target}")


check_api_page()
check_quotes()
check_links()
for fault in faults:
    print(fault)
sys.exit(1 if faults else 0)
