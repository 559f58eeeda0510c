#!/usr/bin/env python3
"""The LoRA modes against each other, tuned alike, as docs/federated-lora.md has it: lora_study.py STERNA MODEL OUT.jsonl
A run is a line of OUT; what is there is not made again. With -t the table of what is there."""
import json, os, pathlib, subprocess, sys, tempfile

CLIENTS, STEPS, MODES, LOCAL = 5, 150, ("both", "ffa", "alternate"), (1, 5, 50)
TASK = "[task]\nname = homes\n[model]\nbase = {}\n[train]\nbatch_examples = 8\n[cohort]\nsecure = no\n"
OUTERS = (("nesterov", 0.7), ("avg", 1.0))


def read(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return {json.dumps(run["key"]): run for run in map(json.loads, lines)}


def run(mode, local, split, seed, lr, outer):
    key = [mode, local, split, seed, lr, *outer]
    if json.dumps(key) not in runs:
        command = [sterna, "simulate", "--task", task, "--clients", CLIENTS, "--cohort", CLIENTS, "--partition", split, "--lora", mode,
                   "--local-steps", local, "--rounds", STEPS // local, "--lr", lr, "--outer", outer[0], "--outer-rate", outer[1],
                   "--seed", seed, "--threads", 1, "--json"]
        said = json.loads(subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout)["rounds"]
        made = {"key": key, "loss": [r["eval_loss"] for r in said], "accuracy": [r["eval_accuracy"] for r in said],
                "bytes_up": [r["bytes_up"] for r in said]}
        with out.open("a") as file:
            file.write(json.dumps(made) + "\n")
        runs[json.dumps(key)] = made
        print(key, round(made["loss"][-1], 4), round(made["accuracy"][-1], 3), flush=True)
    return runs[json.dumps(key)]


def tune(mode, local):
    """The best of two rates and two optimisers by the last loss, then one rate further out; iid, seed 1."""
    tried = [(lr, outer) for outer in OUTERS for lr in (3e-3, 1e-2)]
    loss = lambda how: run(mode, local, "iid", 1, *how)["loss"][-1]
    lr, outer = min(tried, key=loss)
    return min([(lr, outer), (3e-2 if lr == 1e-2 else 1e-3, outer)], key=loss)


def table():
    how = {(mode, local): tune(mode, local) for mode in MODES for local in LOCAL}
    print("| tuned: lr, outer | " + " | ".join(MODES) + " |\n" + "|---" * 4 + "|")
    for local in LOCAL:
        print(f"| {local} local steps |" + "|".join(f" {lr:g}, {name} {rate:g} " for lr, (name, rate) in (how[m, local] for m in MODES)) + "|")
    print("\n| loss, exact match | both | both, half its rounds | ffa | alternate | MB up |\n" + "|---" * 6 + "|")
    for local in LOCAL:
        for split in ("iid", "dirichlet:0.1"):
            made = {m: [run(m, local, split, seed, *how[m, local]) for seed in seeds] for m in MODES}
            last = STEPS // local - 1

            def cell(mode, at):
                loss, hits = (sum(r[name][at] for r in made[mode]) / len(seeds) for name in ("loss", "accuracy"))
                return f"{loss:.2f}, {100 * hits:.0f} %"

            half = cell("both", (last + 1) // 2 - 1) if last > 3 else ""
            up = " / ".join(f"{sum(made[m][0]['bytes_up']) / 1e6:.1f}" for m in MODES)
            print(f"| {local}, {split} | {cell('both', last)} | {half} | {cell('ffa', last)} | {cell('alternate', last)} | {up} |")


if __name__ == "__main__":
    shows = "-t" in sys.argv
    sterna, model, out = [a for a in sys.argv[1:] if a != "-t"][:3]
    out, seeds = pathlib.Path(out), [int(s) for s in os.environ.get("SEEDS", "1").split()]
    runs = read(out)
    with tempfile.TemporaryDirectory() as folder:
        task = f"{folder}/task.ini"
        pathlib.Path(task).write_text(TASK.format(pathlib.Path(model).resolve()))
        for split in ("iid", "dirichlet:0.1") if not shows else ():
            for local in (5, 50, 1):
                for mode in MODES:
                    for seed in seeds:
                        run(mode, local, split, seed, *tune(mode, local))
        if shows:
            table()
