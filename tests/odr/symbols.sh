#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# symbols.sh NM BASELINE.o AVX2.o: fails where a weak kernel symbol is defined in both, or where one has no kernel.
set -euo pipefail
export LC_ALL=C
nm=$1
# Mangled names of weak definitions that hold vector code: in `kernel`, with a type of `isa` or a vector in the name.
kernels() {
  "$nm" --defined-only "$1" | awk '$2 ~ /^[WVu]$/ && $3 ~ /8data2vec/ && $3 ~ /6kernel|3isa|Dv[0-9]/ { print $3 }' |
    sort -u
}
first=$(kernels "$2") second=$(kernels "$3")
if [[ -z $first || -z $second ]]; then
  echo "no kernel symbol in one of the objects: the test sees nothing"
  exit 1
fi
shared=$(comm -12 <(printf '%s\n' "$first") <(printf '%s\n' "$second"))
echo "kernel symbols: $(wc -l <<< "$first") and $(wc -l <<< "$second")"
if [[ -n $shared ]]; then
  echo "defined in both, though compiled for different instruction sets:"
  c++filt <<< "$shared" 2>/dev/null || printf '%s\n' "$shared"
  exit 1
fi
