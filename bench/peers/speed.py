"""raison and llama.cpp by turns on the same file: bench/peers/run speed [MODEL]. What it measures and how: README.md."""
import argparse
import glob
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from models import BUILD, RAISON, SHAPES, make

HERE = pathlib.Path(__file__).resolve().parent
LLAMA = BUILD / "node_modules" / "@node-llama-cpp" / "linux-x64"
PROMPT, LONG, BATCHES = 512, 8192, (1, 4, 16)
# Cores that other work took in a turn. Engines that wait for a thread without a core lose much more than its time (seen: 24 times
# slower), each in its own way, so what was measured then is no ratio of engines.
DISTURBED = 0.1


def key(row):
    """What makes two rows the same test; of a prompt its length, of decoding what lies before it and how many at once."""
    return (row["test"], row["tokens"] if row["test"] == "prefill" else row["depth"], row["sequences"])


def label(k):
    if k[0] == "prefill":
        return f"prefill {k[1]}"
    at = f" behind {k[1]}" if k[1] > 0 else ""
    return f"decode{at}" if k[2] == 1 else f"decode, {k[2]} at once{at}"


def groups(long):
    """Tests of one turn: (prompt, [(depth, sequences), ...])."""
    out = [(PROMPT, [(0, b) for b in BATCHES])]
    return out + [(LONG, [(LONG, 1)])] if long else out


def run(command):
    """The JSON that a command writes to the file its --json names, and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out.json"
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # numpy is there, and should not start threads
        done = subprocess.run([*map(str, command), "--json", str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment)
        if done.returncode != 0 or not out.exists():
            raise SystemExit(f"{command[0]} failed ({done.returncode}):\n{done.stdout}")
        return json.loads(out.read_text()), done.stdout


def raison_turn(file, group, o):
    prompt, cases = group
    j, _ = run([RAISON, "bench", file, "--prefill", prompt, "--decode", o.decode, "--repetitions", o.repetitions, "--threads",
                o.threads, "--depths", ",".join(str(d) for d in sorted({d for d, _ in cases})),
                "--batches", ",".join(str(b) for b in sorted({b for _, b in cases}))])
    return j


def llama_turn(file, group, o):
    prompt, cases = group
    (folder,) = [pathlib.Path(f).parent for f in glob.glob(str(LLAMA / "bins" / "*" / "libllama.*so*"))]
    j, said = run([sys.executable, HERE / "llama_turn.py", folder, file, "--threads", o.threads, "--prefill", prompt, "--decode",
                   o.decode, "--cases", ",".join(f"{d}x{b}" for d, b in cases), "--repetitions", o.repetitions])
    backend = re.search(r"libggml-cpu-(\w+)", said)
    j["backend"] = backend.group(1) if backend else "not told"
    built = json.loads((folder / "_nlcBuildMetadata.json").read_text())
    j["release"] = built["buildOptions"]["llamaCpp"]["release"]
    return j


def busy_seconds():
    """CPU time that anything took on this machine (with what its host withheld), and that this script's commands took."""
    user, nice, system, _, _, irq, softirq, steal = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK"), used.ru_utime + used.ru_stime


def measure(file, o):
    """Every turn, in the order they ran. Who goes first changes with each round: neither always follows the other."""
    turns = []
    for g, group in enumerate(groups(o.long)):
        quiet = 0
        for r in range(2 * o.rounds):
            if quiet == o.rounds:
                break
            engines, pair = [("raison", raison_turn), ("llama.cpp", llama_turn)], []
            for name, turn in engines if r % 2 == 0 else reversed(engines):
                begin, (all_before, own_before) = time.time(), busy_seconds()
                figures = turn(file, group, o)
                seconds, (all_after, own_after) = time.time() - begin, busy_seconds()
                others = max(0.0, (all_after - all_before - own_after + own_before) / seconds)
                pair.append({"group": g, "round": r, "engine": name, "wall_seconds": seconds, "cores_of_others": others, **figures})
                print(f"prompt {group[0]}, round {r + 1}: {name}, {seconds:.0f} s; other work took {others:.2f} cores",
                      file=sys.stderr, flush=True)
            disturbed = any(t["cores_of_others"] > DISTURBED for t in pair)
            quiet += not disturbed
            turns += [{**t, "disturbed": disturbed} for t in pair]
    return turns


def counted(turns, group):
    """A group's turns that count: of undisturbed rounds, or of all if none was."""
    of = [t for t in turns if t["group"] == group]
    return [t for t in of if not t["disturbed"]] or of


def summary(turns, long):
    """One entry a test: both engines' medians, the ratio of each round, how near raison came to what the machine gave."""
    out = []
    for g, (prompt, cases) in enumerate(groups(long)):
        for k in [("prefill", prompt, 1)] + [("decode", d, b) for d, b in cases]:
            rows = {"raison": {}, "llama.cpp": {}}
            for t in counted(turns, g):
                rows[t["engine"]][t["round"]] = next(row for row in t["rows"] if key(row) == k)
            ours, theirs = rows["raison"], rows["llama.cpp"]
            speed = {name: statistics.median(r["tokens_per_second"] for r in of.values()) for name, of in rows.items()}
            first = {name: statistics.median(r["tokens"] / r["seconds"][0] for r in of.values()) for name, of in rows.items()}
            ratios = [ours[r]["tokens_per_second"] / theirs[r]["tokens_per_second"] for r in sorted(ours)]
            reads = [(r["step"]["weight_bytes"] + r["step"]["cache_bytes"]) / (1e-3 * r["ms_per_step"]) for r in ours.values()]
            out.append({"test": label(k), "key": k, **speed, "first": first, "ratios": ratios, "ratio": statistics.median(ratios),
                        "read_share": [x / r["peaks"]["read_bytes_per_second"] for x, r in zip(reads, ours.values())],
                        "reached": [r["reached"] for r in ours.values()], "limit": [r["limit"] for r in ours.values()]})
    return out


def spread(values, scale=1.0, form="{:.0f}"):
    low, high = form.format(scale * min(values)), form.format(scale * max(values))
    return low if low == high else f"{low}-{high}"


def show(name, turns, entries, o):
    used = [t for g in range(len(groups(o.long))) for t in counted(turns, g)]
    ours = [t for t in used if t["engine"] == "raison"]
    theirs = [t for t in used if t["engine"] == "llama.cpp"]
    first, cpu = ours[0], ours[0]["cpu"]

    def peak(what, form):
        values = [row["peaks"][what + "_per_second"] for t in ours for row in t["rows"]]
        return form.format(1e-9 * statistics.median(values)) + f" ({spread(values, 1e-9, form)})"

    print(f"{name}: {first['architecture']}, {first['parameters'] / 1e9:.2f}B parameters, {first['weight_bytes'] / 1e9:.3f} GB")
    print(f"{cpu['name']}, CPU family {cpu['family']}, model {cpu['model']}; {o.threads} threads; a turn times each test "
          f"{o.repetitions} times, {o.decode} decoded tokens a sequence")
    print(f"peaks beside the rows (median, range): int8 {peak('int8_operations', '{:.0f}')} GOPS, "
          f"fp32 {peak('fp32_operations', '{:.0f}')} GFLOPS, read {peak('read_bytes', '{:.1f}')} GB/s")
    print(f"raison: kernels {first['kernels']}, cache {first['cache_type']}; llama.cpp {theirs[0]['release']}: backend "
          f"{theirs[0]['backend']}, cache f16, flash attention {theirs[0]['flash_attention']}\n")
    print(f"{'test':<26}{'raison t/s':>11}{'llama.cpp':>11}{'ratio':>8}{'range':>14}{'of bandwidth':>14}{'reached':>9}  limit")
    for e in entries:
        line = f"{e['test']:<26}{e['raison']:>11.1f}{e['llama.cpp']:>11.1f}{e['ratio']:>8.2f}{spread(e['ratios'], 1, '{:.2f}'):>14}"
        line += f"{100 * statistics.median(e['read_share']):>12.0f} %" if e["key"][0] == "decode" else f"{'-':>14}"
        reached = [x for x in e["reached"] if x is not None]
        line += f"{100 * statistics.median(reached):>7.0f} %" if reached else f"{'-':>9}"
        print(line + "  " + "/".join(sorted(set(e["limit"]))))
    by = {tuple(e["key"]): e for e in entries}
    one, many = by[("decode", 0, 1)], by[("decode", 0, BATCHES[-1])]
    print(f"\n{BATCHES[-1]} at once against 1: raison {many['raison'] / one['raison']:.2f} times the tokens, "
          f"llama.cpp {many['llama.cpp'] / one['llama.cpp']:.2f}")
    first_prompt = entries[0]["first"]
    print(f"the first prompt of {PROMPT} after loading: raison {first_prompt['raison']:.1f} tokens a second, "
          f"llama.cpp {first_prompt['llama.cpp']:.1f}")
    disturbed = [t for t in turns if t["disturbed"] and t["engine"] == "raison"]
    print(f"turns of each engine that count: {len(ours)}" + (f"; disturbed by other work: {len(disturbed)}" if disturbed else ""))
    if any(t["disturbed"] for t in used):
        print("NO ROUND WAS QUIET: these figures say little")
    print("ratio: the median of the rounds' ratios. of bandwidth: the bytes that raison's steps must read, of the read peak\n"
          "beside them. reached: of the shortest time that those bytes or the products (limit) would take at the peaks.")


def main():
    parser = argparse.ArgumentParser(description="raison and llama.cpp by turns on the same GGUF file.")
    parser.add_argument("model", nargs="?", default="qwen2-1.5b",
                        help=f"a shape ({', '.join(SHAPES)}) or a GGUF file (default: qwen2-1.5b)")
    parser.add_argument("--type", default="Q4_K_M", help="type of a shape's weights (default: Q4_K_M)")
    parser.add_argument("--rounds", type=int, default=3,
                        help="undisturbed turns of each engine, of twice as many at most (default: 3)")
    parser.add_argument("--repetitions", type=int, default=3, help="times that each test is timed in a turn (default: 3)")
    parser.add_argument("--decode", type=int, default=32, help="tokens of a sequence in one repetition (default: 32)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each engine (default: all)")
    parser.add_argument("--long", action="store_true", help=f"add a prompt of {LONG} and decoding behind it")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every turn and the summary to this file too")
    o = parser.parse_args()
    if not pathlib.Path(RAISON).exists():
        raise SystemExit("build the release preset first, or name raison's program in RAISON")
    file = make(o.model, o.type) if o.model in SHAPES else pathlib.Path(o.model)
    turns = measure(file, o)
    entries = summary(turns, o.long)
    show(file.stem, turns, entries, o)
    if o.json:
        o.json.write_text(json.dumps({"model": file.name, "summary": entries, "turns": turns}, indent=1) + "\n")


if __name__ == "__main__":
    main()
