// SPDX-License-Identifier: MIT
// Adam and the moving average of the teacher, on the processor.
#pragma once

#include <algorithm>

#include <data2vec/device/adam.hpp>
#include <data2vec/device/cpu/vec.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Adam<BasicCpu<Isa>> {
  template <class T>
  static void update(BasicCpu<Isa>&, std::size_t count, const AdamStep& step, const T* gradient, T* m, T* v,
                     T* parameters) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    const V scale = L::all(static_cast<T>(step.gradient_scale)), b1 = L::all(static_cast<T>(step.beta1)),
            c1 = L::all(static_cast<T>(1 - step.beta1)), b2 = L::all(static_cast<T>(step.beta2)),
            c2 = L::all(static_cast<T>(1 - step.beta2)), eps = L::all(static_cast<T>(step.eps)),
            size = L::all(static_cast<T>(-step.step)), keep = L::all(static_cast<T>(-step.decay));
    for (std::size_t i = 0; i < count; i += L::size) {
      const int n = static_cast<int>(std::min<std::size_t>(count - i, L::size));
      const bool whole = n == L::size;
      const auto get = [=](const T* p) { return whole ? L::load(p) : L::load(p, n); };
      const auto put = [=](T* p, V x) { whole ? L::store(p, x) : L::store(p, x, n); };
      const V g = get(gradient + i) * scale;
      const V first = L::fma(b1, get(m + i), c1 * g), second = L::fma(b2, get(v + i), c2 * g * g);
      V p = get(parameters + i);
      p = L::fma(keep, p, p);
      p = L::fma(size, first / (L::sqrt(second) + eps), p);
      put(m + i, first);
      put(v + i, second);
      put(parameters + i, p);
    }
  }

  template <class T>
  static void moving_average(BasicCpu<Isa>&, std::size_t count, double decay, const T* student, T* teacher) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    const V old_part = L::all(static_cast<T>(decay)), new_part = L::all(static_cast<T>(1 - decay));
    L::map(count, teacher, [=](V s, V t) { return L::fma(old_part, t, new_part * s); }, student, teacher);
  }
};

}  // namespace data2vec::inline v0
