# SPDX-License-Identifier: MIT
"""Timing helpers of torch_data2vec2.py."""
import contextlib
import os
import statistics
import time

import torch


def process_age():
    """Seconds since the kernel started this process (Linux), to 10 ms."""
    ticks = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def cpu_name():
    with contextlib.suppress(OSError, StopIteration):
        return next(l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name"))
    return "unknown"


def sync(device):
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def queue_wait():
    """Seconds that this process's threads have waited for a core so far (Linux): shows a shared machine."""
    total = 0
    for task in os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(open(f"/proc/self/task/{task}/schedstat").read().split()[1])
    return total / 1e9


def measure(run, device, warmup, steps, budget):
    """Wall, CPU (all threads) and run-queue seconds of each call; stops early once the budget (after warm-up) is spent."""
    rows, first = [], None
    for i in range(warmup + steps):
        begun = time.perf_counter() if i <= warmup else begun
        wait, cpu, wall = queue_wait(), time.process_time(), time.perf_counter()
        run()
        sync(device)
        rows.append((time.perf_counter() - wall, time.process_time() - cpu, queue_wait() - wait))
        first = first or (rows[0][0], process_age())
        if budget and i >= warmup and time.perf_counter() - begun > budget:
            break
    wall, cpu, wait = map(list, zip(*rows[warmup:]))
    stats = lambda v: dict(min=min(v), median=statistics.median(v), max=max(v))
    return dict(**stats(wall), steps=len(wall), first=first[0], process_start_to_first=first[1], cpu=stats(cpu),
                queue_wait=stats(wait), all=[[round(x, 6) for x in r] for r in rows[warmup:]])


def profile_top(run, device, steps, rows=14):
    """Self time of the heaviest operators over a few steps."""
    from torch.profiler import ProfilerActivity, profile

    cuda = torch.device(device).type == "cuda"
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda) as prof:
        for _ in range(steps):
            run()
        sync(device)
    events = [(e.key, e.self_device_time_total if cuda else e.self_cpu_time_total, e.count) for e in prof.key_averages()]
    total = sum(t for _, t, _ in events) or 1
    return [dict(op=k, share=round(t / total, 4), ms_per_step=round(t / 1e3 / steps, 3), calls=c / steps)
            for k, t, c in sorted(events, key=lambda e: -e[1])[:rows]]
