#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compiles every header as the only include and compares its CPU seconds with the budget of its folder.
# headers.sh INCLUDE_DIR BUDGETS|- EXCLUDED COMPILER FLAGS...
set -euo pipefail
include=$1 budgets=$2 excluded=$3
shift 3
export LC_ALL=C
TIMEFORMAT=%U
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

budget_of() {  # the value of the longest prefix; `.` is for everything
  awk -v name="$1" '
    /^[[:space:]]*(#|$)/ { next }
    { prefix = $1 == "." ? "" : $1 }
    index(name, prefix) == 1 && length(prefix) >= best { best = length(prefix); value = $2 }
    END { print value }' "$budgets"
}

failed=0 count=0
while IFS= read -r -d '' path; do
  header=${path#"$include/data2vec/"}
  if grep -qxF -- "$header" "$excluded"; then
    printf '%-44s not compiled: needs an optional part that is absent\n' "$header"
    continue
  fi
  count=$((count + 1))
  printf '#include <data2vec/%s>\n' "$header" > "$scratch/only.cpp"
  status=0
  seconds=$({ time "$@" -I "$include" -fsyntax-only "$scratch/only.cpp" > "$scratch/output" 2>&1; } 2>&1) || status=$?
  if [[ $status != 0 ]]; then
    printf '%-44s FAILED: does not compile alone\n' "$header"
    head -n 40 "$scratch/output"
    failed=$((failed + 1))
  elif [[ $budgets == - ]]; then
    printf '%-44s ok\n' "$header"
  else
    budget=$(budget_of "$header")
    verdict=ok
    if awk -v s="$seconds" -v b="$budget" 'BEGIN { exit !(b == "" || s > b) }'; then
      verdict="FAILED: over the budget of its folder (tests/architecture/budgets.txt)"
      failed=$((failed + 1))
    fi
    printf '%-44s %6.2f s of %4.1f s  %s\n' "$header" "$seconds" "${budget:-0}" "$verdict"
  fi
done < <(find "$include/data2vec" -name '*.hpp' -print0 | sort -z)

echo "$count headers, $failed failed"
[[ $count -gt 0 && $failed == 0 ]]
