#!/usr/bin/env python3
"""Checks what house rules say of the tree: includes point one way (includes.txt), a symbol's name is its address,
files and functions stay short. Prints one line a finding and Check's count line."""
import pathlib, re, subprocess, sys

top = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
FILE_LINES, FUNCTION_LINES = 600, 60
rooms, foreign = {}, {}
for line in (top / "tests/lint/includes.txt").read_text().splitlines():
    line = line.split("#")[0].strip()
    if line:
        name, allowed = line.split(":", 1)
        (foreign if name.startswith("<") else rooms)[name.strip()] = allowed.split()

listed = subprocess.run(["git", "-C", str(top), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True).stdout.split()
if not listed:
    listed = [str(p.relative_to(top)) for p in top.rglob("*") if "build" not in p.parts[0]]
sources = sorted(f for f in listed if f.endswith((".c", ".h", ".comp")) and (top / f).is_file())
findings = {"length": [], "includes": [], "foreign": [], "address": []}


def check(rule, ok, text):
    if not ok:
        findings[rule].append(text)


for f in sources:
    lines = (top / f).read_text().splitlines()
    check("length", len(lines) <= FILE_LINES, f"{f}: {len(lines)} lines, at most {FILE_LINES}")
    room = max((r for r in rooms if f.startswith(r + "/")), key=len, default=None)
    own = f.rsplit("/", 1)[0].removeprefix("common/") + "/"
    for number, line in enumerate(lines, 1):
        if m := re.match(r'\s*#\s*include\s+"([^"]+)"', line):
            ok = room is None or m[1].startswith(own) or any(m[1].startswith(p) for p in rooms[room])
            check("includes", ok or m[1].endswith((".pb-c.h", "_spv.h")), f"{f}:{number}: {room} must not include {m[1]}")
        if m := re.match(r"\s*#\s*include\s+(<[^>]+)>", line):
            for prefix, places in foreign.items():
                if m[1].startswith(prefix):
                    check("foreign", any(f.startswith(p) for p in places), f"{f}:{number}: {m[1]}> belongs to {' '.join(places)}")
    if not f.endswith(".c"):
        continue
    stem, start = pathlib.Path(f).stem, None
    for number, line in enumerate(lines, 1):
        if m := re.match(r"(?!static\b|extern\b|typedef\b)[A-Za-z_][\w \*]*?\b(stn_\w+)\(", line):
            if not line.rstrip().endswith(";") and not f.startswith("tests/"):
                check("address", m[1].startswith(f"stn_{stem}"), f"{f}:{number}: {m[1]} does not live in {stem}.c")
        if line == "{":
            start = number
        elif line == "}" and start:
            check("length", number - start - 1 <= FUNCTION_LINES, f"{f}:{start}: a function of {number - start - 1} lines, at most {FUNCTION_LINES}")
            start = None

for texts in findings.values():
    print(*texts, sep="\n", end="\n" if texts else "")
n_broken = sum(bool(texts) for texts in findings.values())
print(f"{100 * (len(findings) - n_broken) // len(findings)}%: Checks: {len(findings)}, Failures: {n_broken}, Errors: 0")
sys.exit(n_broken > 0)
