// SPDX-License-Identifier: MIT
// The first program of a new user.
#include <cstdio>

#include <data2vec/data2vec.hpp>

int main() {
  std::printf("data2vec %s\n", data2vec::version);
  return 0;
}
