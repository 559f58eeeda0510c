#!/usr/bin/env python3
"""Broken files, wrong pairs, a full disk and hostile peers against the real programs: one clear error each, no crash, nothing
lost. broken_input.py STERNA STERNAD TOP"""
import json, os, random, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

sterna, sternad, top = sys.argv[1:4]
sys.path.append(os.path.join(top, "tests/lib"))
from port import free_port

base = os.path.join(top, "deploy/models/home-base.gguf")
folder = tempfile.mkdtemp(prefix="sterna-broken-")
rng = random.Random(7)
n_checks, failures, children = 0, [], []


def check(claim, ok, more=""):
    global n_checks
    n_checks += 1
    if not ok:
        failures.append(f"{claim}: {more}")
        print(f"failed: {claim}: {more}")


def run(*args, **more):
    return subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=120, **more)


def crashed(r):
    return r.returncode < 0 or r.returncode > 2 or "Sanitizer" in r.stderr or "runtime error" in r.stderr or "Assertion" in r.stderr


def one_error(r):
    lines = r.stderr.rstrip("\n").split("\n")
    return r.returncode == 1 and len(lines) == 1 and lines[0].startswith("error: ") and len(lines[0]) > 12


def path(name, data):
    p = os.path.join(folder, name)
    with open(p, "wb") as f:
        f.write(data)
    return p


def flipped(data, within):
    b = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        b[rng.randrange(min(within, len(b)))] ^= 1 << rng.randrange(8)
    return bytes(b)


def files():
    model = open(base, "rb").read()
    for size in (0, 3, 4, 23, 24, 100, 5000, 20000, len(model) // 2, len(model) - 1):
        r = run(sterna, "model", "check", path("cut.gguf", model[:size]))
        check(f"a model cut to {size} bytes is one error", one_error(r) and "cut.gguf" in r.stderr, r.stderr)
    for i in range(40):
        r = run(sterna, "model", "check", path("flip.gguf", flipped(model, 2000 if i % 2 else len(model))))
        check(f"a model with flipped bits never crashes ({i})", not crashed(r) and (r.returncode == 0 or one_error(r)), r.stderr)
    made = run(sterna, "data", "demo", "-o", folder + "/homes", "--devices", "2")
    data = folder + "/homes/home-00.jsonl"
    made = run(sterna, "train", "-m", base, "-d", data, "-o", folder + "/a.gguf", "--backend", "cpu", "--steps", "1", "--rank", "2", "--batch-tokens", "64", "--ctx", "64")
    check("a small adapter is trained", made.returncode == 0, made.stderr)
    adapter = open(folder + "/a.gguf", "rb").read()
    for size in (0, 4, 40, 300, len(adapter) // 2, len(adapter) - 1):
        r = run(sterna, "adapter", "info", path("cut-a.gguf", adapter[:size]))
        check(f"an adapter cut to {size} bytes is one error", one_error(r) and "cut-a.gguf" in r.stderr, r.stderr)
    for i in range(30):
        r = run(sterna, "eval", "-m", base, "-a", path("flip-a.gguf", flipped(adapter, 3000)), "-d", data, "--backend", "cpu")
        check(f"an adapter with flipped bits never crashes ({i})", not crashed(r) and (r.returncode == 0 or one_error(r)), r.stderr)
    other = folder + "/other.gguf"
    run(sterna, "model", "random", "--shape", "tiny", "--type", "tq2_0", "--vocab", base, "--seed", "1", "-o", other)
    r = run(sterna, "eval", "-m", other, "-a", folder + "/a.gguf", "-d", data, "--backend", "cpu")
    check("an adapter of another model is one error", one_error(r) and "a.gguf" in r.stderr, r.stderr)
    text = open(data, "rb").read()
    for i in range(30):
        r = run(sterna, "data", "check", path("flip.jsonl", flipped(text, len(text))), "-m", base)
        check(f"examples with flipped bits never crash ({i})", not crashed(r) and (r.returncode == 0 or one_error(r)), r.stderr)
    r = run(sterna, "data", "check", path("cut.jsonl", text[: len(text) - 20]), "-m", base)
    check("a line cut short is named by its number", one_error(r) and "60" in r.stderr, r.stderr)
    return data


def full_disk(data):
    mount = folder + "/small"
    os.mkdir(mount)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], stderr=subprocess.DEVNULL).returncode != 0:
        print("skipped: a full disk needs the right to mount a tmpfs")
        return
    try:
        r = run(sterna, "train", "-m", base, "-d", data, "-o", mount + "/a.gguf", "--backend", "cpu", "--steps", "1", "--batch-tokens", "64", "--ctx", "64")
        check("a full disk is one error", r.returncode == 1 and r.stderr.count("error: ") == 1 and "No space left" in r.stderr, r.stderr)
        check("nothing is left behind on a full disk", os.listdir(mount) == [], str(os.listdir(mount)))
        for size in ("16k", "64k", "128k", "4m"):
            subprocess.run(["mount", "-o", f"remount,size={size}", mount], check=True)
            made = run(sternad, "init", mount + "/fleet")
            r = run(sternad, "check", "--config", mount + "/fleet/sternad.conf")
            if made.returncode == 0:
                check(f"a coordinator that is made in {size} is whole", r.returncode == 0, r.stderr)
            else:
                check(f"a coordinator says that {size} are too little", one_error(made) and size != "4m", made.stderr)
    finally:
        subprocess.run(["umount", mount])


def wait_for(claim, ready, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return True
        time.sleep(0.05)
    check(claim, False, "waited in vain")
    return False


HELLO = b"\0SP\0" + struct.pack(">H", 48) + b"\0\0"  # nng's handshake of a REQ socket


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=10)
    s.settimeout(1)
    return s


def say(port, chunks):
    """Sends chunks, reads what comes for a moment, hangs up."""
    try:
        with connect(port) as s:
            for c in chunks:
                s.sendall(c)
            s.recv(65536)
    except OSError:
        pass


def message(body):
    return struct.pack(">Q", len(body)) + body


def proxy(port, to, captured):
    """Carries one connection, and keeps what the client sent."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    listener.listen(4)
    listener.settimeout(60)

    def pump(a, b, keep):
        try:
            while data := a.recv(65536):
                if keep is not None:
                    keep.append(data)
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve():
        try:
            client, _ = listener.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", to))
        threading.Thread(target=pump, args=(server, client, None), daemon=True).start()
        pump(client, server, captured)

    threading.Thread(target=serve, daemon=True).start()


def devices(fleet):
    r = run(sterna, "device", "list", "--dir", fleet, "--json")
    return len(json.loads(r.stdout)["devices"]) if r.returncode == 0 else -1


def peers():
    fleet, port, middle = folder + "/fleet", free_port(), free_port()
    run(sternad, "init", fleet, "--listen", f"tcp://127.0.0.1:{port}", "--address", f"127.0.0.1:{middle}")
    log = open(folder + "/log", "w")
    for args in (["directory", "--config", fleet + "/directory/directory.conf"], ["run", "--config", fleet + "/sternad.conf"]):
        children.append(subprocess.Popen([sternad, *args], stderr=log, stdin=subprocess.DEVNULL))
    wait_for("the coordinator answers", lambda: run(sterna, "status", "--dir", fleet).returncode == 0)
    second = run(sternad, "init", folder + "/fleet2", "--listen", f"tcp://127.0.0.1:{port}")
    r = run(sternad, "run", "--config", folder + "/fleet2/sternad.conf")
    check("a port in use is one clear error", r.returncode == 1 and r.stderr.count("error") >= 1 and str(port) in r.stderr, r.stderr)
    captured = []
    proxy(middle, port, captured)
    invite = run(sterna, "invite", "--dir", fleet, "--json")
    url = json.loads(invite.stdout)["urls"][0]
    r = run(sterna, "join", url, "--dir", folder + "/device")
    check("a device joins", r.returncode == 0, r.stderr)
    check("one device is enrolled", devices(fleet) == 1, run(sterna, "device", "list", "--dir", fleet, "--json").stdout)
    say(port, captured)  # every byte that the device sent, again
    for i in range(30):
        garbage = rng.randbytes(rng.randrange(1, 3000))
        request = struct.pack(">I", 0x80000000 | rng.randrange(1 << 31))
        kind = bytes([rng.randrange(8), 1])
        say(port, [garbage] if i % 5 == 0 else [HELLO, message(request + (garbage if i % 2 else kind + garbage))])
    say(port, [HELLO, struct.pack(">Q", 1 << 40)])
    say(port, [HELLO, message(b"\x80\0\0\1" + b"\1" * (2 << 20))])
    check("the coordinator is still there", children[-1].poll() is None and run(sterna, "status", "--dir", fleet).returncode == 0)
    check("a replay enrols nobody", devices(fleet) == 1)
    proxy(middle2 := free_port(), port, [])
    r = run(sterna, "join", url.replace(str(middle), str(middle2)), "--dir", folder + "/thief")
    check("a spent token is one clear error", one_error(r), r.stderr)
    check("and still one device", devices(fleet) == 1)
    for child in children[::-1]:
        child.send_signal(signal.SIGTERM)
        check("it stops cleanly", child.wait(timeout=60) == 0, str(child.returncode))
    log.close()
    text = open(folder + "/log", errors="replace").read()
    check("no sanitizer has anything to say", "Sanitizer" not in text and "runtime error" not in text, text[-2000:])


try:
    data = files()
    full_disk(data)
    peers()
finally:
    for child in children:
        if child.poll() is None:
            child.kill()
    shutil.rmtree(folder, ignore_errors=True)
print(f"{100 * (n_checks - len(failures)) // n_checks}%: Checks: {n_checks}, Failures: {len(failures)}, Errors: 0")
sys.exit(bool(failures))
