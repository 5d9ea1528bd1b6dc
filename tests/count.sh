#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# count.sh JUNIT STATUS: reads what `ctest --output-junit` wrote and ctest's exit status, names what failed or was
# skipped, and ends with one line `N passed, N failed, N skipped` of test cases. A doctest program counts as its cases,
# a program that ends with such a line counts as that, anything else counts as one. Exit status 1 if any failed.
set -euo pipefail
if [[ ! -e $1 ]]; then
  echo "FAILED: ctest left no results (exit status $2)"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi
LC_ALL=C exec awk -v status="$2" '
  function value(of,  text) {  # of an XML attribute of this line
    if (!match($0, " " of "=\"[^\"]*\"")) return ""
    text = substr($0, RSTART, RLENGTH)
    sub(/^[^"]*"/, "", text); sub(/"$/, "", text)
    gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;/, "\"", text); gsub(/&amp;/, "\\&", text)
    return text
  }
  function finish(  p, f, s, moved) {
    p = f = s = 0
    if (cases) { p = case_passed; f = case_failed; s = case_skipped }
    else if (counted) { p = line_passed; f = line_failed; s = line_skipped }
    else if (verdict == "passed") p = 1
    if (cases || !counted) {  # a case that says SKIPPED ran to its end without having tested anything
      moved = marked < p ? marked : p
      p -= moved; s += moved
    }
    if (verdict == "skipped" && !s) s = 1
    if (verdict == "failed" && !f) f = 1
    if (f) failures = failures "FAILED: " name (f > 1 ? " (" f ")" : "") "\n"
    if (s && !marked) names = names "SKIPPED: " name (reason == "" ? "" : ": " reason) "\n"
    passed += p; failed += f; skipped += s
  }
  /^\t<testcase / {
    name = value("name"); state = value("status"); reason = ""
    verdict = state == "run" ? "passed" : state == "disabled" ? "skipped" : "failed"
    cases = counted = marked = 0
    next
  }
  /^\t\t<skipped / {  # also said of a program that is not there, which is a failure
    reason = value("message")
    if (reason ~ /^SKIP_/) verdict = "skipped"
    next
  }
  /^\t<\/testcase>/ { finish(); next }
  { sub(/^\t\t<system-out>/, ""); sub(/<\/system-out>$/, ""); sub(/\r$/, "") }
  /^\[doctest\] test cases:/ {
    split($0, part, "|")
    cases = 1; case_passed = part[2] + 0; case_failed = part[3] + 0; case_skipped = part[4] + 0
  }
  /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ {
    counted = 1; line_passed = $1 + 0; line_failed = $3 + 0; line_skipped = $5 + 0
  }
  /^SKIPPED: / { marked++; names = names $0 "\n" }
  END {
    if (status != 0 && failed == 0) { failed = 1; failures = failures "FAILED: ctest, with exit status " status "\n" }
    printf "%s%s", names, failures
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed != 0
  }' "$1"
