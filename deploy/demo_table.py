#!/usr/bin/env python3
"""Prints the rounds of the first simulation and the medians of all: demo_table.py RESULT.json ..."""
import json, statistics, sys

results = [json.load(open(path)) for path in sys.argv[1:]]
first = results[0]
print(f"\nRounds of seed {first['seed']} ({first['clients']} homes, {first['values']} values in the adapter):\n")
print("round  train loss  eval loss  exact match  homes     up MB   down MB")
for r in first["rounds"]:
    print(f"{r['round']:5}  {r['train_loss']:10.4f}  {r['eval_loss']:9.4f}  {100 * r['eval_accuracy']:10.1f}%"
          f"  {r['clients']:5}  {r['bytes_up'] / 1e6:8.2f}  {r['bytes_down'] / 1e6:8.2f}")
print("\nExact match on the shared test set:\n")
print(f"{'':28}" + "".join(f"  seed {r['seed']}" for r in results) + "   median")
median = {}
for name, key in (("base model", "base"), ("each home alone (mean)", "local"), ("federated", "federated"),
                  ("all data in one place", "central")):
    scores = [100 * r[key]["accuracy"] for r in results]
    median[key] = statistics.median(scores)
    print(f"{name:28}" + "".join(f"{s:7.1f}%" for s in scores) + f"{median[key]:8.1f}%")
print(f"\n{sum(r['wall_s'] for r in results):.0f} s of simulation; curves in demo/seed-{first['seed']}.html")

# what the demo is to show; less is a failure of this program, not of the reader
if median["federated"] < max(80, 0.85 * median["central"], median["local"] + 30) or median["base"] > 5:
    sys.exit("error: the federated adapter is not as good as it should be: see the table")
