#!/usr/bin/env python3
"""LoRA gradients of `sterna check gradients --dump` against an independent reference in float64 (../shared/tools/oracle.py), matrix by
matrix, on random models of three shapes with grouped queries: cosine at least 0.9999 by the exact backward pass, 0.99 by int8.
gradients.py STERNA TOP"""
import array, json, math, os, random, subprocess, sys, tempfile

sterna, top = sys.argv[1:3]
shared = os.environ.get("STERNA_SHARED", os.path.join(top, "../shared"))
tools = os.path.join(shared, "tools")
vocab = os.path.join(top, "deploy/models/home-base.gguf")
python = next((p for p in (sys.executable, "/usr/bin/python3") if subprocess.run([p, "-c", "import numpy"], capture_output=True).returncode == 0), None)
if python is None or not os.path.exists(os.path.join(tools, "oracle.py")):
    print("skipped: the reference wants python3-numpy and ../shared/tools")
    sys.exit(77)

# name, what makes the model, tokens, rank, alpha
SHAPES = [
    ("two heads of four", "--embd 256 --layers 3 --heads 4 --kv 2 --ff 768 --type tq2_0", 40, 4, 8),
    ("two heads of eight, narrow ones", "--embd 512 --layers 2 --heads 8 --kv 2 --ff 1024 --type tq1_0", 33, 8, 16),
    ("one head for all", "--embd 256 --layers 4 --heads 4 --kv 1 --ff 512 --type tq2_0", 64, 3, 6),
]
LEAST = {"exact": 0.9999, "int8": 0.99}
n_checks, n_failures = 0, 0


def check(claim, ok, more=""):
    global n_checks, n_failures
    n_checks += 1
    if not ok:
        n_failures += 1
        print(f"failed: {claim}: {more}")


def run(*args):
    return subprocess.run(args, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout


def floats(path):
    a = array.array("f")
    with open(path, "rb") as f:
        a.frombytes(f.read())
    return a


def cosine(a, b):
    ab = aa = bb = 0.0
    for x, y in zip(a, b):
        ab += x * y
        aa += x * x
        bb += y * y
    return ab / math.sqrt(aa * bb) if aa > 0 and bb > 0 else 0.0


with tempfile.TemporaryDirectory(prefix="sterna-gradients-") as folder:
    for i, (name, shape, n, rank, alpha) in enumerate(SHAPES):
        model, want = f"{folder}/{i}.gguf", f"{folder}/{i}.want"
        run(python, f"{tools}/make_model.py", *shape.split(), "--vocab", vocab, "--seed", str(i + 5), "-o", model)
        rng = random.Random(i)
        tokens = ",".join(str(rng.randrange(3, 1000)) for _ in range(n))
        mask = ",".join("0" if k < n // 3 else str(int(rng.random() < 0.8)) for k in range(n))
        how = ["--tokens", tokens, "--mask", mask, "--rank", str(rank), "--alpha", str(alpha), "--seed", "7"]
        run(python, f"{tools}/oracle.py", model, *how, "--dump", want, "-o", f"{folder}/{i}.json")
        loss = json.load(open(f"{folder}/{i}.json"))["loss"]
        matrices = sorted(os.listdir(want))
        for backward, least in LEAST.items():
            got = f"{folder}/{i}.{backward}"
            said = json.loads(run(sterna, "check", "gradients", "-m", model, *how, "--backward", backward, "--dump", got, "--json"))
            check(f"{name}, {backward}: every matrix has a gradient", sorted(os.listdir(got)) == matrices)
            check(f"{name}, {backward}: the loss", abs(said["loss"] - loss) < 1e-4 * loss, f"{said['loss']}, want {loss}")
            worst = 1.0, ""
            for matrix in matrices:
                a, b = floats(f"{got}/{matrix}"), floats(f"{want}/{matrix}")
                c = cosine(a, b) if len(a) == len(b) else 0.0
                worst = min(worst, (c, matrix))
                check(f"{name}, {backward}: {matrix}", c >= least, f"cosine {c:.6f}")
            print(f"{name}, {backward}: {len(matrices)} matrices, the least cosine {worst[0]:.6f} ({worst[1]})")
print(f"{100 * (n_checks - n_failures) // n_checks}%: Checks: {n_checks}, Failures: {n_failures}, Errors: 0")
sys.exit(n_failures > 0)
