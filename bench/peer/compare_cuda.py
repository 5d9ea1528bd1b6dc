# SPDX-License-Identifier: MIT
"""Runs bench/step and torch_data2vec2.py on a GPU in turns: one row (a configuration and its batch) a call, one JSON
file a row. Started by ./run gpu, which builds the program."""
import argparse
import datetime
import json
import os
import subprocess
import sys

from compare import PEER, run

SHEET_PEAK = {"NVIDIA H100": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100": 312e12}  # dense bfloat16, data sheets
VARIANTS = {"eager": [], "sdpa": ["--sdpa"], "sdpa+compile": ["--sdpa", "--compile"],
            "sdpa+graphs": ["--sdpa", "--compile", "--compile-mode", "reduce-overhead"]}
PEAK = """
import torch
a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
best = float("inf")
for i in range(12):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record(); a @ b; end.record(); torch.cuda.synchronize()
    if i > 1: best = min(best, start.elapsed_time(end))
print(2 * 8192 ** 3 / (1e-3 * best))
"""


def sheet_peak(gpu):
    return next((peak for name, peak in SHEET_PEAK.items() if gpu.startswith(name)), None)


def of_implementation(reports):
    medians = [report["seconds"]["median"] for report in reports]
    return dict(best=min(medians), worst=max(medians), peak_cuda_bytes=min(r["peak_cuda_bytes"] for r in reports),
                process_start_to_first=min(r["seconds"]["process_start_to_first"] for r in reports),
                top_operators=reports[-1].get("top_operators"), processes=[r["seconds"] for r in reports])


def compare(args):
    modality, config, batch = args.row.split("/")
    options = ["--modality", modality, "--config", config, "--batch", batch, "--device", "cuda", "--dtype", "bfloat16",
               "--steps", str(args.steps), "--warmup", "3", "--budget", str(args.budget)]
    commands = {"data2vec": [args.program, *options, "--profile", "3", "--commit", args.commit]}
    for name in args.variants:
        commands[name] = [sys.executable, PEER, *options, *VARIANTS[name]]
    reports, failed = {name: [] for name in commands}, {}
    for turn in range(args.processes):
        for name, command in commands.items():
            if name in failed:
                continue
            try:
                report = run(command)
            except SystemExit as error:  # a variant that this PyTorch cannot run is named, and ours is still compared
                if name == "data2vec":
                    raise
                failed[name] = str(error)[-500:]
                continue
            reports[name].append(report)
            print(f"{args.row}, process {turn + 1}: {name} median {1e3 * report['seconds']['median']:.2f} ms",
                  file=sys.stderr, flush=True)
    ours = reports["data2vec"][0]
    results = {name: of_implementation(of_one) for name, of_one in reports.items() if of_one}
    peers = [name for name in results if name != "data2vec"]
    if not peers:
        sys.exit(f"compare_cuda: {args.row}: no variant of PyTorch ran: {failed}")
    opponent = min(peers, key=lambda name: results[name]["best"])
    us, them = results["data2vec"], results[opponent]
    rate = ours["flops"]["train"] / us["best"]
    measured = float(subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True).stdout)
    sheet = sheet_peak(ours["gpu"])
    return dict(what="one training step in bfloat16 on data in memory, seconds", row=args.row,
                date=datetime.date.today().isoformat(), gpu=ours["gpu"], commit=args.commit, command=args.command,
                batch=ours["batch"], masks=ours["masks"], tflop=ours["flops"]["train"] / 1e12, opponent=opponent,
                ratio=them["best"] / us["best"], ratio_low=them["best"] / us["worst"],
                ratio_high=them["worst"] / us["best"],
                memory_ratio=us["peak_cuda_bytes"] / them["peak_cuda_bytes"], measured_peak=measured,
                mfu_measured=rate / measured, mfu_data_sheet=rate / sheet if sheet else None,
                implementations=results, failed=failed)


def line(r):
    us, them = r["implementations"]["data2vec"], r["implementations"][r["opponent"]]
    mib = lambda one: one["peak_cuda_bytes"] / 2 ** 20
    sheet = f"{100 * r['mfu_data_sheet']:.0f} %" if r["mfu_data_sheet"] else "-"
    return (f"| {r['row']} (M = {r['masks']}) | {1e3 * us['best']:.2f} | {r['batch'] / us['best']:.0f} "
            f"| {1e3 * them['best']:.2f} {r['opponent']} | **{r['ratio']:.2f}** | {r['ratio_low']:.2f} to "
            f"{r['ratio_high']:.2f} | {100 * r['mfu_measured']:.0f} % | {sheet} | {mib(us):.0f} / {mib(them):.0f} |")


HEAD = ("| row (batch) | ms | samples/s | best PyTorch (ms) | ratio | spread | MFU, measured peak | MFU, data sheet "
        "| device MiB |\n" + "| --- " * 9 + "|")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--row", required=True, help="modality/config/batch")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--budget", type=float, default=6)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--json", required=True)
    args = parser.parse_args()
    args.variants = args.variants.split(",")
    if len(args.row.split("/")) != 3 or set(args.variants) - set(VARIANTS) or args.processes < 1:
        parser.error(f"expected --row modality/config/batch and --variants of {', '.join(VARIANTS)}")
    result = compare(args)
    os.makedirs(os.path.dirname(os.path.abspath(args.json)), exist_ok=True)
    with open(args.json, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    print(HEAD)
    print(line(result))


if __name__ == "__main__":
    main()
