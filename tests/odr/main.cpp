// SPDX-License-Identifier: MIT
// Both objects in one program: they run one after the other and agree.
#include <cstdio>

float sum_on_baseline();
float sum_on_avx2();

int main() {
  const float baseline = sum_on_baseline();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    std::puts("SKIPPED: odr/run: this processor has no AVX2 and FMA");
    return 0;
  }
  const float avx2 = sum_on_avx2();
  std::printf("baseline %g, avx2 %g\n", static_cast<double>(baseline), static_cast<double>(avx2));
  return baseline == avx2 && baseline > 0 ? 0 : 1;
}
