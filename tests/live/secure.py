#!/usr/bin/env python3
"""Secure rounds of real processes on loopback: a coordinator, its directory and agents, while a seeded script kills agents and the
coordinator at drawn stages. What must hold: enough rounds end with a release, one that is driven beyond what SA1 bears ends void and
releases nothing, every release is bit for bit what the accepted updates come to, each of them once, and the adapter improves.
Those that are more than n_min train half the ranks at first: too few have the other half, which is in no release before they too have it.
secure.py STERNA STERNAD STERNA_AGENT RECOMPUTE TOP     STERNA_FULL=1: 20 agents, 5 rounds, 6 agents and 2 coordinators killed;
STERNA_SECURE_SEED draws other stages."""
import json, os, random, re, shutil, signal, sqlite3, subprocess, sys, tempfile, time

sterna, sternad, agent, recompute, top = sys.argv[1:6]
sys.path.append(os.path.join(top, "tests/lib"))
from port import free_port

FULL = os.environ.get("STERNA_FULL") == "1"
N, N_MIN, ROUNDS, AGENT_KILLS, COORDINATOR_KILLS = (20, 8, 5, 6, 2) if FULL else (7, 5, 2, 2, 1)
NARROW = range(N_MIN, N)
SEED = int(os.environ.get("STERNA_SECURE_SEED", "3"))
rng = random.Random(SEED)
folder = tempfile.mkdtemp(prefix="sterna-secure-")
fleet = folder + "/fleet"
base = os.path.join(top, "deploy/models/home-base.gguf")
port = free_port()
children, agents, n_checks = {}, {}, 0
BEGAN = time.monotonic()


def fail(claim, more=""):
    print(f"failed: {claim}: {more}")
    for name in ["log", "directory.log"] + [f"a{i}/log" for i in range(N)]:
        try:
            lines = open(f"{folder}/{name}", errors="replace").read().split("\n")
            print(f"{name}:", *["  " + line for line in lines[-25:]], sep="\n")
        except OSError:
            pass
    sys.exit(1)


def check(claim, ok, more=""):
    global n_checks
    n_checks += 1
    if not ok:
        fail(claim, more)


def run(*args):
    r = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    check(" ".join(os.path.basename(a) for a in args[:3]), r.returncode == 0, r.stderr)
    return r.stdout


def until(claim, seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            fail(claim, f"not within {seconds} s")
        time.sleep(0.02)


# ---- processes ----


def start(name, log, *args):
    children[name] = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(f"{folder}/{log}", "ab"))


def start_coordinator():
    start("coordinator", "log", sternad, "run", "--config", fleet + "/sternad.conf")


def set_rank(i, rank):
    path = f"{folder}/a{i}/agent.conf"
    text = re.sub("(# )?rank = .*", f"rank = {rank}", open(path).read())
    open(path, "w").write(text)


def start_agent(i):
    start(i, f"a{i}/log", agent, "run", "--config", f"{folder}/a{i}/agent.conf")


def kill(name):
    children[name].kill()
    children[name].wait()


def kill_all(names):
    """At one moment: those that come last are not left time to send."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for name in names:
            children[name].send_signal(number)
    for name in names:
        children[name].wait()


def end_well(name):
    children[name].terminate()
    check(f"SIGTERM ends {name} well", children[name].wait(60) == 0)
    del children[name]


# ---- a fleet ----


def set_up():
    run(sternad, "init", fleet, "--listen", f"tcp://127.0.0.1:{port}", "--address", f"127.0.0.1:{port}")
    conf = open(fleet + "/sternad.conf").read()
    conf = conf.replace("keep_updates = no", "keep_updates = yes").replace("level = info", "level = debug")
    open(fleet + "/sternad.conf", "w").write(conf)
    start("directory", "directory.log", sternad, "directory", "--config", fleet + "/directory/directory.conf")
    start_coordinator()
    for name in ("operator.sock", "directory/directory.sock"):
        until(f"{name} is there", 60, lambda name=name: os.path.exists(f"{fleet}/{name}"))
    open(folder + "/home.ini", "w").write(f"""[task]
name = home
rounds = 0
[model]
base = {base}
rank = 8
halvings = 1
[train]
local_steps = 4
batch_examples = 8
[cohort]
target = {N}
n_min = {N_MIN}
join_window_s = 15
report_deadline_s = 600
upload_s = 15
share_s = 8
ack_s = 8
unmask_s = 8
[merge]
lora = both
""")  # both factors: an upload of more than one chunk, so that there is time to be killed in it
    run(sterna, "task", "create", folder + "/home.ini", "--dir", fleet)
    run(sterna, "data", "demo", "-o", folder + "/data", "--devices", str(N), "--seed", "1")
    for i, url in enumerate(run(sterna, "invite", "-n", str(N), "--dir", fleet).split()):
        run(sterna, "join", url, "--dir", f"{folder}/a{i}")
        path = f"{folder}/a{i}/agent.conf"
        text = open(path).read()
        text = re.sub("# n_min = .*", f"n_min = {min(N_MIN, 5)}\nretry_ms = 200\nretry_most_ms = 2000", text)
        text = text.replace("# threads = 0", "threads = 1\nbackend = cpu").replace("# upload_kbps = 0", "upload_kbps = 4000")
        text = text.replace("# data.TASK = PATH", f"data.home = {folder}/data/home-{i:02d}.jsonl")
        open(path, "w").write(text.replace("[agent]\n", f"[agent]\nmodel = {base}\n", 1))
        if i in NARROW:
            set_rank(i, 4)
        with open(f"{folder}/a{i}/keys/device.key", "rb") as f:
            agents[f.read()[40:48].hex()] = i
    for i in range(N):
        start_agent(i)


# ---- what the coordinator says ----


class Log:
    """Lines of its log as (event, round, device); restarts append to it."""

    def __init__(self):
        self.file = open(folder + "/log")
        self.rest = ""
        self.seen = []

    def news(self):
        self.rest += self.file.read()
        *lines, self.rest = self.rest.split("\n")
        found = []
        for line in lines:
            m = re.search(r"event=(\w+) task=home device=(\S+) number=(\d+) code=(\S+)", line)
            if m:
                found.append((m[1], int(m[3]), m[2], m[4]))
        self.seen += found
        return found

    def did(self, event, number):
        return [device for e, n, device, _ in self.seen if e == event and n == number]

    def ends(self, number):
        return [e for e, n, device, _ in self.seen if e in ("merged", "void") and n == number and device == "-"]


# ---- killing ----

STAGES = ["join", "advertise", "share", "uploaded", "ack"]  # what a victim has just done


def draw_plan():
    """Round -> what happens in it: (event, its how-manieth, who)."""
    plan = {number: [] for number in range(ROUNDS)}
    stages = rng.sample(STAGES, len(STAGES)) + [rng.choice(STAGES)]
    for i in range(AGENT_KILLS):
        plan[i % ROUNDS].append((stages[i], 1 + i // ROUNDS, "agent"))
    for number in rng.sample(range(ROUNDS), COORDINATOR_KILLS):
        plan[number].append((rng.choice(STAGES[1:] + ["unmask"]), rng.randrange(1, N // 2), "coordinator"))
    return plan


def strike(log, plan, killed, waiting):
    """Whatever of the plan has come to pass."""
    for event, number, device, _ in log.news():
        for wanted in list(plan.get(number, [])):
            if wanted[0] != event or len(log.did(event, number)) < wanted[1]:
                continue
            if wanted[2] == "agent" and (device not in agents or agents[device] in killed):
                continue
            plan[number].remove(wanted)
            name = "coordinator" if wanted[2] == "coordinator" else agents[device]
            kill(name)
            print(f"{time.monotonic() - BEGAN:5.1f} s, round {number}: {name} is killed after {event}")
            if name == "coordinator":
                start_coordinator()
            else:
                killed.add(name)
                waiting.append((time.monotonic() + rng.choice([1, 3]), name))


def kill_through_rounds(log):
    plan, killed, waiting = draw_plan(), set(), []
    end = time.monotonic() + 900
    while not log.ends(ROUNDS - 1) or waiting:
        strike(log, plan, killed, waiting)
        for due, name in list(waiting):
            if time.monotonic() >= due:
                start_agent(name)
                waiting.remove((due, name))
        if time.monotonic() > end:
            fail("rounds end", f"{ROUNDS} of them, within 900 s")
        time.sleep(0.002)
    check("the whole plan was carried out", not any(plan.values()), plan)
    done = sum("merged" in log.ends(number) for number in range(ROUNDS))
    print(f"{time.monotonic() - BEGAN:5.1f} s: {done} of {ROUNDS} rounds are released, {len(killed)} agents and {COORDINATOR_KILLS} coordinators were killed")
    check("at most one round is lost to it", done >= ROUNDS - 1, done)


def drive_beyond_the_bound(log):
    """Of a large round more devices are killed between share and upload than SA1 bears: nobody is left with t neighbours."""
    for _ in range(3):
        number, victims, late = kill_after_share(log)
        for name in victims:
            start_agent(name)
        if not late:
            break
        print(f"round {number}: {len(late)} were too quick to be killed; again")
    check("victims were killed before they had sent", not late, late)
    until("a later round is released", 300, lambda: log.news() is None or any(
        e == "merged" and n > number and device == "-" for e, n, device, _ in log.seen))


def kill_after_share(log):
    """Returns the round, who was killed, and who of them was too quick for it: then nothing is claimed of the round."""
    begun = {number for e, number, device, _ in log.seen if e == "roster" and device == "-"}
    number = -1

    def is_shared():
        nonlocal number
        for event, n, device, _ in log.news():
            if event == "shared" and n not in begun and len(log.did("share", n)) >= N - 3:
                number = n
        return number >= 0

    until("a large round is shared", 300, is_shared)
    members = [agents[device] for device in log.did("share", number)]
    n = len(members)
    victims = rng.sample(members, n - ((n + n // 10) // 2 + 1))
    kill_all(victims)
    print(f"{time.monotonic() - BEGAN:5.1f} s, round {number}: {len(victims)} of {n} are killed after share")
    said = json.loads(run(sterna, "task", "show", "home", "--dir", fleet, "--json"))["task"]["round"]
    status = run(sterna, "status", "--dir", fleet)
    until("the round ends", 120, lambda: log.news() is None or log.ends(number))
    late = [device for device in log.did("uploaded", number) if agents[device] in victims]
    if late:
        return number, victims, late
    check("the stage is shown", said["secure"]["stage"] == "upload" and said["secure"]["shared"] == n, said)
    check("... and at a glance", f"round {number} uploading, secure: upload" in status)
    check("nobody is listed as a liar", "quarantined_ms" not in run(sterna, "device", "list", "--dir", fleet, "--json"))
    check("it ends void", log.ends(number) == ["void"], log.ends(number))
    print(f"{time.monotonic() - BEGAN:5.1f} s, round {number} is void")
    check("nothing of it was opened", not log.did("unmasking", number))
    return number, victims, late


def widen(log):
    """The devices that have trained half the ranks train all: so does a round, then."""
    check("ranks that n_min devices at most have trained are in no release", tiers() == {1}, tiers())
    for i in NARROW:
        end_well(i)
        set_rank(i, 8)
        start_agent(i)
    until("a round of all ranks is released", 300, lambda: log.news() is None or 0 in tiers())


# ---- what must hold ----


def tiers():
    kept = fleet + "/kept"
    return {json.load(open(f"{kept}/{name}/release.json"))["tier"] for name in os.listdir(kept) if os.path.exists(f"{kept}/{name}/release.json")}


def acknowledged_leases():
    """Those whose device has heard that its upload counts. The coordinator's own log may say so of one twice, or of one that it had
    not yet written down when it was killed."""
    leases = set()
    for i in range(N):
        with open(f"{folder}/a{i}/log") as f:
            leases |= {int(n) for n in re.findall(r"event=uploaded task=home number=(\d+) code=ok", f.read())}
    return leases


def check_accepted(log):
    """Every upload that counted in a released round is kept, and no other; no delta is in two rounds."""
    db = sqlite3.connect(f"file:{fleet}/state.db?mode=ro", uri=True)
    released = [(bytes(r).hex(), n) for r, n in db.execute("SELECT round, number FROM round WHERE state = 3 ORDER BY number")]
    members = db.execute("SELECT hex(round), hex(device), lease FROM member WHERE state = 2").fetchall()
    entered = db.execute("SELECT hex(round), hex(device), lease FROM member").fetchall()
    acknowledged = acknowledged_leases()
    check("secrets of closed rounds are forgotten", db.execute(
        "SELECT count(*) FROM secagg JOIN round USING (round) WHERE state >= 3").fetchone()[0] == 0)
    check("nobody is quarantined", db.execute("SELECT count(*) FROM quarantine").fetchone()[0] == 0)
    check("rounds were released", len(released) >= ROUNDS, released)
    leases = []
    for name, number in released:
        kept = sorted(f for f in os.listdir(f"{fleet}/kept/{name}") if len(f) == 64)
        counted = sorted(d.lower() for r, d, _ in members if r.lower() == name)
        leases += [lease for r, _, lease in members if r.lower() == name]
        check(f"round {number} keeps what it has counted", kept == counted, (kept, counted))
        heard = {d.lower() for r, d, lease in entered if r.lower() == name and lease in acknowledged}
        check("... all that was acknowledged", heard and heard <= set(kept), (heard, kept))
        check("... and nothing that it has not got", {k[:16] for k in kept} <= set(log.did("uploaded", number)), kept)
        check("... and enough of it", len(kept) >= N_MIN, len(kept))
        said = json.load(open(f"{fleet}/kept/{name}/release.json"))
        check("... as the release says", said["n_included"] == len(kept), said)
    check("no delta is in two rounds", len(leases) == len(set(leases)))
    void = {bytes(r).hex() for r, in db.execute("SELECT round FROM round WHERE state = 4")}
    check("of a void round nothing is kept", not void & set(os.listdir(fleet + "/kept")), void)
    db.close()


def check_adapter():
    digest = run(recompute, fleet).strip()  # fails when a release is not the sum of its updates
    data = folder + "/data/home-00.jsonl"
    before = json.loads(run(sterna, "eval", "-m", base, "-d", data, "--json"))["loss"]
    after = json.loads(run(sterna, "eval", "-m", base, "-a", f"{fleet}/blobs/{digest}", "-d", data, "--json"))["loss"]
    print(f"loss of a home: {before:.3f} before, {after:.3f} after")
    check("the adapter improves", after < 0.8 * before, (before, after))


def main():
    set_up()
    log = Log()
    kill_through_rounds(log)
    drive_beyond_the_bound(log)
    print(f"{time.monotonic() - BEGAN:5.1f} s: a later one is released")
    widen(log)
    print(f"{time.monotonic() - BEGAN:5.1f} s: one of all ranks is")
    end_well("coordinator")
    log.news()
    check_accepted(log)
    check_adapter()
    for i in range(N):
        end_well(i)
    end_well("directory")


try:
    main()
    print(f"100%: Checks: {n_checks}, Failures: 0, Errors: 0")
finally:
    for child in children.values():
        child.send_signal(signal.SIGKILL)
        child.wait()
    shutil.rmtree(folder, ignore_errors=True)
