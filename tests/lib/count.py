#!/usr/bin/env python3
"""Adds up what ran: Check's own counts where a test program prints them, else one for the program. The last line is
'N passed, N failed'."""
import json, re, sys

passed = failed = 0
for path in sys.argv[1:]:
    try:
        lines = open(path, encoding="utf-8", errors="replace").read().splitlines()
    except OSError as e:
        print(f"error: {path}: {e.strerror}: no test ran there")
        failed += 1
        continue
    for line in lines:
        test = json.loads(line)
        counts = re.findall(r"Checks: (\d+), Failures: (\d+), Errors: (\d+)", test.get("stdout") or "")
        bad = sum(int(f) + int(e) for _, f, e in counts)
        good = sum(int(n) for n, _, _ in counts) - bad
        if test["result"] in ("SKIP", "EXPECTEDFAIL"):
            continue
        if not counts:
            good = test["result"] == "OK"
        if test["result"] != "OK" and bad == 0:
            bad = 1
        if bad:
            print(f"failed: {path.split('/')[0]}: {test['name']}")
            print("\n".join((test.get("stdout") or "").splitlines()[-20:]))
            print("\n".join((test.get("stderr") or "").splitlines()[-30:]))
        passed, failed = passed + good, failed + bad
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0 or passed == 0)
