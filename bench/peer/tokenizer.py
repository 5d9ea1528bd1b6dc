# SPDX-License-Identifier: MIT
"""bench/tokenizer beside Hugging Face tokenizers: the same files, the same vocabulary, one core, in processes that take
turns. Ids must be the same; the ratio is best over best. Needs a Python with `tokenizers`.

  python bench/peer/tokenizer.py --program build/.../bench/tokenizer --bpe DIR [--lines] [--processes 3] \
    [--json FILE] FILES...
"""
import argparse
import array
import datetime
import json
import os
import shlex
import subprocess
import sys
import time
import zlib

from compare import machine


def worker(arguments):
    import tokenizers
    from tokenizers import ByteLevelBPETokenizer

    texts = []
    for path in arguments.files:
        with open(path, "rb") as file:
            content = file.read()
        parts = content.split(b"\n") if arguments.lines else [content]
        if arguments.lines:
            parts = [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
        texts += [part.decode("utf-8") for part in parts]
    seconds = {}
    calls = {"encode": lambda t: [t.encode(text) for text in texts], "encode_batch": lambda t: t.encode_batch(texts)}
    calls["encode_batch_fast"] = lambda t: t._tokenizer.encode_batch_fast(texts)  # without offsets
    for name, call in calls.items():
        for _ in range(arguments.rounds):
            tokenizer = ByteLevelBPETokenizer(
                os.path.join(arguments.bpe, "encoder.json"), os.path.join(arguments.bpe, "vocab.bpe"))
            begun = time.perf_counter()
            encodings = call(tokenizer)
            seconds[name] = min(seconds.get(name, 1e9), time.perf_counter() - begun)
    ids = array.array("i")
    for encoding in encodings:
        ids.extend(encoding.ids)
    size = sum(len(text.encode("utf-8")) for text in texts)
    best = min(seconds, key=seconds.get)
    print(json.dumps({"implementation": "tokenizers", "texts": len(texts), "bytes": size, "ids": len(ids),
                      "crc32": zlib.crc32(ids.tobytes()), "variant": best, "all": seconds,
                      "MB_per_second": 1e-6 * size / seconds[best], "version": tokenizers.__version__}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="bench/tokenizer")
    parser.add_argument("--bpe", required=True, help="folder of vocab.bpe and encoder.json")
    parser.add_argument("--lines", action="store_true", help="one text a line instead of one a file")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="file for the results")
    parser.add_argument("--commit", default="unknown", help="what --json says of the sources")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments)
        return 0
    if not arguments.program:
        parser.error("--program: expected bench/tokenizer, found nothing")
    options = ["--bpe", arguments.bpe, "--rounds", str(arguments.rounds)] + ["--lines"] * arguments.lines
    environment = dict(os.environ, TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
    results = {"data2vec": [], "tokenizers": []}
    for _ in range(arguments.processes):
        for command in ([arguments.program], [sys.executable, os.path.abspath(__file__), "--worker"]):
            out = subprocess.run(command + options + arguments.files, env=environment, check=True,
                                 stdout=subprocess.PIPE, text=True).stdout
            result = json.loads(out)
            results[result["implementation"]].append(result)
    same = {(r["bytes"], r["ids"], r["crc32"]) for rows in results.values() for r in rows}
    rates = {name: [r["MB_per_second"] for r in rows] for name, rows in results.items()}
    for name, rate in rates.items():
        print(f"{name:10}  MB/s: " + ", ".join(f"{x:.2f}" for x in rate))
    print(f"tokenizers' fastest call: {results['tokenizers'][0]['variant']}; ids: "
          + ("the same" if len(same) == 1 else f"DIFFERENT: {same}"))
    ratio = max(rates["data2vec"]) / max(rates["tokenizers"])
    print(f"ratio, best over best: {ratio:.2f}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"what": "text to ids, one core, MB a second", "date": datetime.date.today().isoformat(),
                       "machine": machine(), "load": os.getloadavg()[0], "commit": arguments.commit,
                       "command": shlex.join(["python3", *sys.argv]), "same_ids": len(same) == 1, "ratio": ratio,
                       "MB_per_second": rates, "processes": results}, file, indent=1)
            file.write("\n")
    return 0 if len(same) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
