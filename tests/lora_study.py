#!/usr/bin/env python3
"""The LoRA modes against each other, as docs/federated-lora.md has it: lora_study.py [-t] [--tune] [--seeds 1,2,3] STERNA MODEL OUT.jsonl
A run is a line of OUT; what is there is not made again. -t shows the tables of what is there, mean and range over the seeds; --tune makes
the tuning again, by the first seed, instead of taking TUNED's word for it."""
import argparse, json, pathlib, subprocess, tempfile

CLIENTS, STEPS, MODES, LOCAL, SPLITS = 5, 150, ("both", "ffa", "alternate"), (1, 5, 50), ("iid", "dirichlet:0.1")
TASK = "[task]\nname = homes\n[model]\nbase = {}\n[train]\nbatch_examples = 8\n[cohort]\nsecure = no\n"
NESTEROV, AVG = ("nesterov", 0.7), ("avg", 1.0)
TUNED = {("both", 1): (3e-3, NESTEROV), ("ffa", 1): (1e-2, NESTEROV), ("alternate", 1): (1e-2, AVG),
         ("both", 5): (3e-3, AVG), ("ffa", 5): (1e-2, NESTEROV), ("alternate", 5): (1e-2, AVG),
         ("both", 50): (3e-3, AVG), ("ffa", 50): (3e-2, AVG), ("alternate", 50): (1e-2, AVG)}
DEMO = ("both", "ffa")  # the demo's size: 20 homes, 24 rounds of 5 steps of 24 examples, each mode with its task's own rate and optimiser


def read(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return {json.dumps(run["key"]): run for run in map(json.loads, lines)}


def made(key, *options):
    if json.dumps(key) not in runs and not args.t:
        command = [args.sterna, "simulate", *options, "--threads", 1, "--json"]
        said = json.loads(subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout)["rounds"]
        run = {"key": key, "loss": [r["eval_loss"] for r in said], "accuracy": [r["eval_accuracy"] for r in said],
               "bytes_up": [r["bytes_up"] for r in said]}
        with args.out.open("a") as file:
            file.write(json.dumps(run) + "\n")
        runs[json.dumps(key)] = run
        print(key, round(run["loss"][-1], 4), round(run["accuracy"][-1], 3), flush=True)
    return runs.get(json.dumps(key))


def run(mode, local, split, seed, lr, outer):
    return made([mode, local, split, seed, lr, *outer], "--task", task, "--clients", CLIENTS, "--cohort", CLIENTS, "--partition", split,
                "--lora", mode, "--local-steps", local, "--rounds", STEPS // local, "--lr", lr, "--outer", outer[0],
                "--outer-rate", outer[1], "--seed", seed)


def demo(mode, seed):
    return made(["demo", mode, seed], "-m", args.model, "--lora", mode, "--seed", seed)


def tune(mode, local):
    """The best of two rates and two optimisers by the last loss, then one rate further out; iid, the first seed."""
    if not args.tune:
        return TUNED[mode, local]
    tried = [(lr, outer) for outer in (NESTEROV, AVG) for lr in (3e-3, 1e-2)]
    loss = lambda how: run(mode, local, "iid", args.seeds[0], *how)["loss"][-1]
    lr, outer = min(tried, key=loss)
    return min([(lr, outer), (3e-2 if lr == 1e-2 else 1e-3, outer)], key=loss)


def cell(some, at):
    """Mean of the loss (its least and its most), mean of the exact match, after the round `at`."""
    loss, hits = ([r[name][at] for r in some] for name in ("loss", "accuracy"))
    mean = lambda x: sum(x) / len(x)
    return f"{mean(loss):.2f} ({min(loss):.2f} to {max(loss):.2f}), {100 * mean(hits):.0f} %"


def row(name, some, has_half):
    """One row: what each mode came to, and `both` after half of its rounds; a mode that lacks a seed is left open."""
    whole = {m: None not in some[m] for m in some}
    half = len(some["both"][0]["loss"]) // 2 - 1 if has_half and whole["both"] else None
    cells = [cell(some[m], -1) if whole[m] else "" for m in some]
    cells.insert(1, cell(some["both"], half) if half is not None else "")
    up = " / ".join(f"{sum(some[m][0]['bytes_up']) / 1e6:.1f}" for m in some if whole[m])
    print(f"| {name} | " + " | ".join(cells) + f" | {up} |")


def table():
    how = {(mode, local): tune(mode, local) for mode in MODES for local in LOCAL}
    print("| tuned: lr, outer | " + " | ".join(MODES) + " |\n" + "|---" * 4 + "|")
    for local in LOCAL:
        print(f"| {local} local steps |" + "|".join(f" {lr:g}, {name} {rate:g} " for lr, (name, rate) in (how[m, local] for m in MODES)) + "|")
    print(f"\nseeds {args.seeds}\n| loss, exact match | both | both, half its rounds | ffa | alternate | MB up |\n" + "|---" * 6 + "|")
    for local in LOCAL:
        for split in SPLITS:
            row(f"{local}, {split}", {m: [run(m, local, split, s, *how[m, local]) for s in args.seeds] for m in MODES}, local < 50)
    print("\n| the demo's size | both | both, half its rounds | ffa | MB up |\n" + "|---" * 5 + "|")
    row("loss, exact match", {m: [demo(m, s) for s in args.seeds] for m in DEMO}, True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-t", action="store_true")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--seeds", default=[1, 2, 3], type=lambda text: [int(s) for s in text.split(",")])
    parser.add_argument("sterna")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    runs = read(args.out)
    with tempfile.TemporaryDirectory() as folder:
        task = f"{folder}/task.ini"
        pathlib.Path(task).write_text(TASK.format(args.model.resolve()))
        if args.t:
            table()
        for seed in args.seeds if not args.t else ():
            for split in SPLITS:
                for local in (5, 50, 1):
                    for mode in MODES:
                        run(mode, local, split, seed, *tune(mode, local))
        for seed in args.seeds if not args.t else ():
            for mode in DEMO:
                demo(mode, seed)
