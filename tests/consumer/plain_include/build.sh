#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# No build system at all: build.sh DATA2VEC_INCLUDE EIGEN_INCLUDE OUTPUT
set -euo pipefail
"${CXX:-c++}" -std=c++20 -O1 -I "$1" -I "$2" "$(dirname "$0")/main.cpp" -o "$3" -pthread
