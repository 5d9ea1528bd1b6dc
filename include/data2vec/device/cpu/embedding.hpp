// SPDX-License-Identifier: MIT
// Look-up of token ids on the processor, and its gradient.
#pragma once

#include <cmath>

#include <data2vec/device/cpu/vec.hpp>
#include <data2vec/device/embedding.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Embedding<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  template <int C, class T>
  static void embed(Cpu& d, const EmbeddingShape& shape, const std::int32_t* ids, const T* table, double scale,
                    const T* positions, T* y) {
    using V = Vec<T, Isa>;
    const T factor = static_cast<T>(scale);
    detail::share(d, shape.samples, 1, [=](Index first, Index end) {
      for_each_token(shape, ids, first, end, [=](Index at, Index id, Index position) {
        const T* const token = table + id * C;
        if (positions)
          Lanes<T, Isa>::map(C, y + at * C, [=](V u, V v) { return u * factor + v; }, token, positions + position * C);
        else Lanes<T, Isa>::map(C, y + at * C, [=](V u) { return u * factor; }, token);
      });
    });
  }

  // Rows of the tables may be named more than once: threads share their columns.
  template <int C, class T>
  static void gradient(Cpu& d, const EmbeddingShape& shape, const std::int32_t* ids, const T* dy, double scale,
                       T* dtable, T* dpositions) {
    using V = Vec<T, Isa>;
    const T factor = static_cast<T>(scale);
    const bool small = Index{shape.samples} * shape.tokens * C < 16384;
    detail::share(d, C, small ? C : 64, [=](Index first, Index end) {
      const auto width = static_cast<std::size_t>(end - first);
      for_each_token(shape, ids, 0, shape.samples, [=](Index at, Index id, Index position) {
        if (id == shape.pad) return;
        const T* const g = dy + at * C + first;
        T* const token = dtable + id * C + first;
        Lanes<T, Isa>::map(width, token, [=](V u, V v) { return u * factor + v; }, g, token);
        if (!dpositions) return;
        T* const place = dpositions + position * C + first;
        Lanes<T, Isa>::map(width, place, [](V u, V v) { return u + v; }, g, place);
      });
    });
  }

  /// By turning each pair one step of its angle after the other, in double: no sine per element.
  template <int C, class T>
  static void sinusoids(Cpu&, int rows, int pad, T* y) {
    static_assert(C >= 4, "data2vec: sinusoids need Config::embed_dim of at least 4");
    constexpr int half = C / 2;
    double sine[half], cosine[half], step_sine[half], step_cosine[half];
    for (int k = 0; k < half; ++k) {
      const double step = std::exp(-k * std::log(10000.0) / (half - 1));
      sine[k] = 0;
      cosine[k] = 1;
      step_sine[k] = std::sin(step);
      step_cosine[k] = std::cos(step);
    }
    for (int p = 0; p < rows; ++p, y += C) {
      for (int k = 0; k < half; ++k) {
        y[k] = p == pad ? T(0) : static_cast<T>(sine[k]);
        y[half + k] = p == pad ? T(0) : static_cast<T>(cosine[k]);
        const double turned = cosine[k] * step_cosine[k] - sine[k] * step_sine[k];
        sine[k] = sine[k] * step_cosine[k] + cosine[k] * step_sine[k];
        cosine[k] = turned;
      }
      if constexpr (C % 2 != 0) y[C - 1] = T(0);
    }
  }

 private:
  /// f(token, id, position) for the tokens of the samples [first, end).
  template <class F>
  static void for_each_token(const EmbeddingShape& shape, const std::int32_t* ids, Index first, Index end, F&& f) {
    for (Index sample = first; sample < end; ++sample) {
      Index position = shape.pad;
      for (Index at = sample * shape.tokens; at < (sample + 1) * shape.tokens; ++at) {
        const Index id = ids[at];
        f(at, id, id == shape.pad ? shape.pad : ++position);
      }
    }
  }
};

}  // namespace data2vec::inline v0
