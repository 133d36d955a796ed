"""raison's training beside PyTorch's, by turns on the same small model: bench/peers/run teaching [base|grpo|trl]. README.md."""
import argparse
import json
import os
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

from models import BUILD, RAISON, ROOT
from speed import DISTURBED, busy_seconds, run, spread

HERE = pathlib.Path(__file__).resolve().parent
PROTOTYPE = pathlib.Path(os.environ.get("RAISON_SHARED", ROOT.parent / "shared")) / "design" / "prototype-rl2" / "mini.py"
BASE = ROOT / "models" / "countdown-base"
PEERS = {"base": "PyTorch", "grpo": "prototype", "trl": "TRL"}
# Steps of a turn, and how many of them are left out at its begin: memory is taken from the system, libraries choose their kernels.
STEPS = {"base": (150, 15), "grpo": (8, 2), "trl": (3, 1)}
PROMPT = 7  # tokens


def command(arguments, environment):
    done = subprocess.run([*map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, **environment}, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"{arguments[0]} failed ({done.returncode}):\n{done.stdout}")


def taught():
    """The folder of countdown-zero, whose replies are long: the one of the repository, or made once by its recipe."""
    if (ROOT / "models" / "countdown-zero" / "config.json").exists():
        return ROOT / "models" / "countdown-zero"
    folder = BUILD / "countdown-zero"
    if not (folder / "model" / "config.json").exists():
        print("making countdown-zero, once: about two minutes", file=sys.stderr, flush=True)
        command([RAISON, "train", "grpo", ROOT / "recipes" / "countdown-zero.toml", "--out", folder], {})
    return folder / "model"


def peak(o):
    """fp32 operations a second that the machine gives in these seconds, by raison's own measure, and the model's parameters."""
    j, _ = run([RAISON, "bench", BASE, "--prefill", 0, "--decode", 4, "--depths", 0, "--batches", 1, "--repetitions", 1,
                "--threads", o.threads])
    return j["rows"][0]["peaks"]["fp32_operations_per_second"], j["parameters"]


def reply_lengths(folder):
    """Tokens of the replies that the run kept: those of two problems a step."""
    with sqlite3.connect(folder / "samples.db") as db:
        return [tokens for (tokens,) in db.execute("select tokens from rollouts")]


def raison_turn(what, model, o):
    kind, recipe = ("pretrain", "countdown-base.toml") if what == "base" else ("grpo", "countdown-zero.toml")
    steps = max(o.steps or STEPS["base" if what == "base" else "grpo"][0], 50 if what == "base" else 5)  # the recipes' warm-ups
    sets = [f"steps={steps}", "checkpoint.every=0", "validation.every=0"] + ([] if what == "base" else [f"model.path={model}"])
    sets += [f"cache_type={o.cache_type}"] if o.cache_type else []
    with tempfile.TemporaryDirectory() as out:
        command([RAISON, "train", kind, ROOT / "recipes" / recipe, "--out", out, "--threads", o.threads,
                 *[x for s in sets for x in ("--set", s)]], {})
        rows = [json.loads(line) for line in (pathlib.Path(out) / "metrics.jsonl").read_text().splitlines()]
        lengths = [] if what == "base" else reply_lengths(pathlib.Path(out))
    keep = ("seconds", "tokens", "length", "right", "rollout_seconds", "update_seconds", "update_tokens", "samples")
    return {"steps": [{k: r[k] for k in keep if k in r} for r in rows], "lengths": lengths}


def peer_turn(what, model, o):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out.json"
        # Large pieces of memory are kept, as the prototype's run.sh has it: faster for all that PyTorch does.
        environment = {"OMP_NUM_THREADS": str(o.threads), "MALLOC_MMAP_THRESHOLD_": "1000000000",
                       "MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_TOP_PAD_": "200000000", "HF_HUB_OFFLINE": "1"}
        command([sys.executable, HERE / "teaching_turn.py", what, "--model", model, "--prototype", PROTOTYPE, "--threads", o.threads,
                 "--steps", o.steps or STEPS[what][0], "--parts", o.parts, "--json", out], environment)
        return json.loads(out.read_text())


def measure(what, model, o):
    """Rounds of a turn each; who goes first changes. As speed.py has it, a round counts if other work took next to nothing."""
    rounds, quiet = [], 0
    for r in range(2 * o.rounds if o.repeat else o.rounds):
        if quiet == o.rounds:
            break
        pair = {"peaks": [], "load": os.getloadavg()[0], "others": {}}
        turns = [("raison", raison_turn), ("peer", peer_turn)]
        for name, turn in turns if r % 2 == 0 else reversed(turns):
            fp32, pair["parameters"] = peak(o)
            begin, (all_before, own_before) = time.time(), busy_seconds()
            pair[name] = turn(what, model, o)
            seconds, (all_after, own_after) = time.time() - begin, busy_seconds()
            pair["others"][name] = max(0.0, (all_after - all_before - own_after + own_before) / seconds)
            pair["peaks"] += [fp32, peak(o)[0]]
            print(f"{what}, round {r + 1}: {PEERS[what] if name == 'peer' else name}, {seconds:.0f} s; other work took "
                  f"{pair['others'][name]:.2f} cores", file=sys.stderr, flush=True)
        free = len(os.sched_getaffinity(0)) - o.threads  # cores that other work may have
        pair["disturbed"] = max(pair["others"].values()) > free + DISTURBED
        quiet += not pair["disturbed"]
        rounds.append(pair)
    return rounds


def counted(what, steps):
    """A turn's steps without those at its begin, at least one."""
    begin = STEPS[what][1] if len(steps) > STEPS[what][1] else len(steps) - 1
    return steps[begin:]


def attention_forward(config, positions):
    """Operations of a forward pass's attention that reads so many positions in all: products with keys and with values."""
    return 4 * config["hidden_size"] * config["num_hidden_layers"] * positions


def drawing_operations(config, parameters, lengths):
    """A drawn token's: 2 a parameter, and what lies before it read by attention, as replies of these lengths have it."""
    positions = sum(n * PROMPT + n * (n - 1) // 2 for n in lengths)
    return 2 * parameters + attention_forward(config, positions) / sum(lengths)


def base_operations(config, parameters, lengths):
    """A token's, forward and backward: 6 a parameter, and attention's, whose share follows from the sequences' lengths."""
    positions = sum(n * (n + 1) // 2 for n in lengths)
    return 6 * parameters + 3 * attention_forward(config, positions) / sum(lengths)


def summary(what, rounds, config):
    out = []
    for r in rounds:
        entry = {"peak": statistics.median(r["peaks"])}
        for name in ("raison", "peer"):
            steps = counted("grpo" if name == "raison" and what == "trl" else what, r[name]["steps"])
            entry[name] = {"tokens_per_second": statistics.median(s["tokens"] / s["seconds"] for s in steps),
                           "seconds": statistics.median(s["seconds"] for s in steps),
                           "tokens": statistics.mean(s["tokens"] for s in steps)}
            for k in ("length", "right", "rollout_seconds"):
                if k in steps[0]:
                    entry[name][k] = statistics.median(s[k] for s in steps)
            if what == "base":
                each = base_operations(config, r["parameters"], r["peer"]["lengths"])
                entry[name]["share"] = each * entry[name]["tokens_per_second"] / entry["peak"]
            elif "rollout_seconds" in steps[0]:  # the peer's replies are as long
                each = drawing_operations(config, r["parameters"], r["raison"]["lengths"])
                entry[name]["share"] = each * statistics.median(s["tokens"] / s["rollout_seconds"] for s in steps) / entry["peak"]
        entry["ratio"] = entry["raison"]["tokens_per_second"] / entry["peer"]["tokens_per_second"]
        entry["ratio_of_seconds"] = entry["peer"]["seconds"] / entry["raison"]["seconds"]
        out.append(entry)
    return out


def median_range(values, form="{:.2f}", scale=1.0):
    return f"{form.format(scale * statistics.median(values))} ({spread(values, scale, form)})"


def show(what, model, rounds, o):
    config = json.loads((model / "config.json").read_text())
    used = [r for r in rounds if not r["disturbed"]] or rounds
    entries = summary(what, used, config)
    shape = "micro-batches of 1,024 tokens" if what == "base" else "32 problems x 8 samples"
    print(f"{what}: {model.name if model.name != 'model' else model.parent.name}, {used[0]['parameters'] / 1e6:.2f}M parameters; {shape}; "
          f"{o.threads} thread{'' if o.threads == 1 else 's'}" + (f"; raison's cache {o.cache_type}" if o.cache_type else ""))
    print(f"{PEERS[what]} {used[0]['peer']['version']}: {', '.join(sorted({r['peer']['how'] for r in used}))}")
    print(f"fp32 peak beside (GFLOPS): {median_range([e['peak'] for e in entries], '{:.0f}', 1e-9)}; "
          f"other work (cores): {spread([x for r in used for x in r['others'].values()], 1, '{:.2f}')}; "
          f"load before: {spread([r['load'] for r in used], 1, '{:.1f}')}\n")
    print(f"{'':<12}{'tokens/s':>26}{'ms a step':>22}{'tokens':>9}{'length':>8}{'drawing, ms':>18}{'of the peak':>16}")
    for name, label in (("raison", "raison"), ("peer", PEERS[what])):
        e = [x[name] for x in entries]

        def column(key, width, form="{:.0f}", scale=1.0, text=median_range):
            return f"{text([x[key] for x in e], form, scale) if key in e[0] else '-':>{width}}"

        def middle(values, form, scale):
            return form.format(scale * statistics.median(values))

        print(f"{label:<12}" + column("tokens_per_second", 26) + column("seconds", 22, "{:.0f}", 1e3) +
              column("tokens", 9, text=middle) + column("length", 8, text=middle) + column("rollout_seconds", 18, "{:.0f}", 1e3) +
              column("share", 16, "{:.0%}"))
    print(f"\nraison: {median_range([e['ratio'] for e in entries])} times the tokens a second"
          + ("" if what == "base" else f", {median_range([e['ratio_of_seconds'] for e in entries])} times the steps a second"))
    print(f"rounds that count: {len(used)} of {len(rounds)}"
          + ("; NONE WAS QUIET: these figures say little" if all(r["disturbed"] for r in used) else "") + "\n", flush=True)
    return entries


def main():
    parser = argparse.ArgumentParser(description="raison's training and PyTorch's, the prototype's, TRL's by turns.")
    parser.add_argument("what", nargs="*", metavar="base|grpo|trl", help="default: all three")
    parser.add_argument("--start", choices=["base", "zero", "both"], default="both",
                        help="grpo: from the untaught model (short replies), the taught one (long ones) or both (default); trl: the last")
    parser.add_argument("--rounds", type=int, default=3, help="undisturbed turns of each, of twice as many at most (default: 3)")
    parser.add_argument("--no-repeat", dest="repeat", action="store_false", help="do not repeat disturbed rounds")
    parser.add_argument("--steps", type=int, help="of every turn (default: base 150, grpo 8, trl 3 and raison beside it 8)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each (default: all)")
    parser.add_argument("--cache-type", help="of raison's KV cache (default: the recipes', f32)")
    parser.add_argument("--parts", type=int, default=4, help="forward and backward passes of a step of TRL (default: 4)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every turn and the summary to this file too")
    o = parser.parse_args()
    if unknown := set(o.what) - set(PEERS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    if not pathlib.Path(RAISON).exists():
        raise SystemExit("build the release preset first, or name raison's program in RAISON")
    if not PROTOTYPE.exists():
        raise SystemExit(f"{PROTOTYPE} is missing: name the folder of shared data in RAISON_SHARED")
    done = []
    for what in o.what or PEERS:
        starts = {"base": [BASE], "grpo": {"base": [BASE], "zero": [None], "both": [BASE, None]}[o.start],
                  "trl": [BASE] if o.start == "base" else [None]}[what]
        for model in (start or taught() for start in starts):
            rounds = measure(what, model, o)
            done.append({"what": what, "model": str(model), "summary": show(what, model, rounds, o), "rounds": rounds})
            if o.json:
                o.json.write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    main()
