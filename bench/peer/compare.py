# SPDX-License-Identifier: MIT
"""Runs bench/step and torch_data2vec2.py in turns and compares the best of each. Started by ./run bench peer, which
builds the programs. Processes of one row alternate, so that a change of the machine's load hits all of them."""
import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile

OPENBLAS = "data2vec, OpenBLAS"  # the same program with OpenBLAS inside its products
HERE = os.path.dirname(os.path.abspath(__file__))
PEER = os.path.join(HERE, "torch_data2vec2.py")
SETTINGS = {  # row: options of both; enough calls to see the best one, within a budget of seconds
    "vision/tiny28": "--steps 12 --warmup 2 --budget 9",
    "vision/small32": "--steps 12 --warmup 1 --budget 6",
    "vision/vit_base": "--steps 3 --warmup 1 --budget 14",
    "vision/vit_large": "--steps 2 --warmup 1 --budget 14",
    "speech/tiny": "--steps 8 --warmup 1 --budget 8",
    "speech/base": "--steps 2 --warmup 0 --budget 20",
    "text/tiny": "--steps 8 --warmup 1 --budget 8",
    "text/base": "--steps 2 --warmup 0 --budget 20",
    "features/tiny28": "--batch 1 --infer --steps 60 --warmup 3 --budget 6",
    "features/small32": "--batch 1 --infer --steps 60 --warmup 3 --budget 6",
    "features/vit_base": "--batch 1 --infer --steps 60 --warmup 3 --budget 6",
    "features/vit_large": "--batch 1 --infer --steps 20 --warmup 2 --budget 6",
}
VARIANTS = {"eager": [], "sdpa": ["--sdpa"], "compile": ["--compile"], "sdpa+compile": ["--sdpa", "--compile"]}


def cpuinfo(key):
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.split(":")[0].strip() == key)
    except (OSError, StopIteration):
        return ""


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpu, family, model = cpuinfo("model name") or platform.machine(), cpuinfo("cpu family"), cpuinfo("model")
    name = re.sub(r"[^a-z0-9]+", "-", f"{cpu} {family} {model}".lower()).strip("-")
    return dict(name=f"{name}-{os.cpu_count()}core", cpu=cpu, family=family, model=model, cores=os.cpu_count(),
                memory_gib=round(memory / 2 ** 30, 1), kernel=platform.release())


def run(command):
    """Starts one process and returns its report with the load of the machine before it."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        done = subprocess.run(command + ["--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})  # the sources stay as they are
        if done.returncode != 0:
            sys.exit(f"compare: {' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")
        with open(path) as file:
            return {**json.load(file), "load": load}


def summary(report):
    seconds = report["seconds"]
    return dict(min=seconds["min"], median=seconds["median"], max=seconds["max"], steps=seconds["steps"],
                cpu_min=seconds["cpu"]["min"], queue_wait_median=seconds["queue_wait"]["median"],
                process_start_to_first=seconds["process_start_to_first"], peak_rss_bytes=report["peak_rss_bytes"],
                load=round(report["load"], 2))


def of_implementation(reports):
    processes = [summary(report) for report in reports]
    least = lambda key: min(process[key] for process in processes)
    return dict(best=least("min"), best_of_worst_process=max(process["min"] for process in processes),
                median=least("median"), cpu=least("cpu_min"), process_start_to_first=least("process_start_to_first"),
                peak_rss_bytes=least("peak_rss_bytes"), processes=processes)


def contended(one, threads):
    """Whether threads of the best process waited for a core for over a twentieth of the time, in the median."""
    best = min(one["processes"], key=lambda process: process["min"])
    return best["queue_wait_median"] > 0.05 * threads * best["median"]


def compare(row, threads, program, openblas, args, note):
    modality, config = row.split("/")
    modality = "vision" if modality == "features" else modality
    options = ["--modality", modality, "--config", config, "--threads", str(threads), *SETTINGS[row].split()]
    commands = {"data2vec": [program, *options, "--commit", args.commit]}
    if openblas:
        commands[OPENBLAS] = [openblas, *options, "--commit", args.commit]
    for variant in args.variants:
        commands[variant] = [sys.executable, PEER, *options, *VARIANTS[variant]]
    reports, order = {name: [] for name in commands}, list(commands)
    for turn in range(args.processes):
        for name in order[turn % len(order):] + order[:turn % len(order)]:
            report = run(commands[name])
            reports[name].append(report)
            seconds = report["seconds"]
            note(f"{row}, {threads} threads, process {turn + 1}: {name} best {seconds['min']:.4g} s, "
                 f"CPU {seconds['cpu']['min']:.4g} s, load {report['load']:.1f}")
    ours, theirs = reports["data2vec"][0], reports[args.variants[0]][0]
    for key in ("what", "batch", "masks", "tokens", "visible", "parameters", "flops"):
        # Our learned positions of text have two rows more, which no token reaches.
        same = 0 <= ours[key] - theirs[key] < 0.001 * theirs[key] if key == "parameters" else ours[key] == theirs[key]
        if not same:
            sys.exit(f"compare: {row}: {key}: expected the peer's {theirs[key]}, found {ours[key]}")
    results = {name: of_implementation(of_one) for name, of_one in reports.items()}
    opponent = min(args.variants, key=lambda name: results[name]["best"])
    us, them = results["data2vec"], results[opponent]
    return dict(row=row, threads=threads, batch=ours["batch"], masks=ours["masks"],
                gflop=ours["flops"][ours["what"]] / 1e9, opponent=opponent, ratio=them["best"] / us["best"],
                ratio_low=them["best"] / us["best_of_worst_process"],
                ratio_high=them["best_of_worst_process"] / us["best"],
                cpu_ratio=min(results[name]["cpu"] for name in args.variants) / us["cpu"],
                rss_ratio=us["peak_rss_bytes"] / them["peak_rss_bytes"],
                mfu=max(report["mfu"] for report in reports["data2vec"]),
                compiler=ours["compiler"], flags=ours["flags"], isa=ours["isa"], back_end=ours["back_end"],
                torch=theirs["torch"], python=theirs["python"], implementations=results)


def table(results):
    lines = ["| row (batch, M) | threads | GFLOP | data2vec (s) | with OpenBLAS (s) | best PyTorch (s) "
             "| ratio | spread | CPU ratio | MFU | peak MiB | start to first call (s) | load |", "| --- " * 13 + "|"]
    for r in results["rows"]:
        us, them = r["implementations"]["data2vec"], r["implementations"][r["opponent"]]
        loads = [process["load"] for one in r["implementations"].values() for process in one["processes"]]
        mark = " †" if contended(us, r["threads"]) or contended(them, r["threads"]) else ""
        blas = r["implementations"].get(OPENBLAS)
        mib = lambda one: one["peak_rss_bytes"] / 2 ** 20
        lines.append(
            f"| {r['row']} ({r['batch']}, {r['masks']}) | {r['threads']} | {r['gflop']:.3g} | {us['best']:.4g} "
            f"| {format(blas['best'], '.4g') if blas else '-'} | {them['best']:.4g} {r['opponent']} "
            f"| **{r['ratio']:.2f}**{mark} | {r['ratio_low']:.2f} to "
            f"{r['ratio_high']:.2f} | {r['cpu_ratio']:.2f} | {100 * r['mfu']:.0f} % | {mib(us):.0f} / {mib(them):.0f} "
            f"| {us['process_start_to_first']:.2f} / {them['process_start_to_first']:.2f} "
            f"| {min(loads):.1f} to {max(loads):.1f} |")
    return "\n".join(lines)


def markdown(results):
    m, first = results["machine"], results["rows"][0]
    return f"""# One step beside PyTorch, {results['date']}

{m['cpu']} (family {m['family']}, model {m['model']}), {m['cores']} cores, {m['memory_gib']} GiB, Linux {m['kernel']};
commit {results['commit']}; {first['compiler']} `{first['flags']}`, {first['isa']}, {first['back_end']};
torch {first['torch']}, Python {first['python']}, variants {', '.join(results['variants'])}; float32.

    {results['command']}

{table(results)}

Ratio: the best step of the best PyTorch variant over our best step, of {results['processes']} processes each that took
turns. Spread: the same with our least fortunate process, and with PyTorch's. CPU ratio: least processor time of all
threads; with one thread it is what other work on the machine changes least. With OpenBLAS: our step with its products
instead of our own. MFU: our best step over the multiply-adds that as many threads were measured to do. Load: the
machine's one-minute average before each process. †: even in the best process threads waited for a core for over 5 %
of the time: another job had part of the machine, the row says little.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", action="append", required=True, metavar="CONFIG=PATH")
    parser.add_argument("--openblas", action="append", default=[], metavar="CONFIG=PATH")
    parser.add_argument("--rows", required=True)
    parser.add_argument("--threads", required=True)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--variants", default="eager,sdpa")
    parser.add_argument("--commit", required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--json", default=None)
    args = parser.parse_args()
    args.variants = args.variants.split(",")
    unknown = [v for v in args.variants if v not in VARIANTS] + [r for r in args.rows.split(",") if r not in SETTINGS]
    if unknown or args.processes < 1:
        parser.error(f"unknown: {', '.join(unknown)}" if unknown else "--processes: expected 1 or more")
    programs, openblas = (dict(one.split("=", 1) for one in given) for given in (args.program, args.openblas))
    here, today = machine(), datetime.date.today().isoformat()
    path = args.json or os.path.join(HERE, "..", "results", f"peer-{here['name']}-{today}.json")
    results = dict(what="one float32 call on data in memory, seconds", date=today, machine=here, commit=args.commit,
                   command=args.command, processes=args.processes, variants=args.variants, rows=[])
    for row in args.rows.split(","):
        for threads in args.threads.split(","):
            note = lambda text: print(text, file=sys.stderr, flush=True)
            modality, config = row.split("/")
            config = config if modality in ("vision", "features") else f"{modality}_{config}"
            results["rows"].append(compare(row, int(threads), programs[config], openblas.get(config), args, note))
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            with open(path, "w") as file:  # after every row: a long comparison that is ended keeps what it has
                json.dump(results, file, indent=1)
                file.write("\n")
            with open(os.path.splitext(path)[0] + ".md", "w") as file:
                file.write(markdown(results))
    print(table(results))
    print(f"\nwritten to {os.path.normpath(path)} and .md")


if __name__ == "__main__":
    main()
