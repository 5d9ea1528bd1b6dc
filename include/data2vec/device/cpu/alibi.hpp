// SPDX-License-Identifier: MIT
// Attention bias on the CPU: plain loops over (row, head, query, key).
#pragma once

#include <data2vec/device/alibi.hpp>
#include <data2vec/device/cpu/cpu.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Alibi<BasicCpu<Isa>> {
  template <class T>
  static void distances(BasicCpu<Isa>&, int heads, Grid grid, bool euclidean, T* table) {
    alibi_distances(heads, grid, euclidean, table);
  }

  template <class T>
  static void learned(BasicCpu<Isa>&, int heads, int max_pos, const T* table, int tokens, T* out) {
    for (int h = 0; h < heads; ++h, table += static_cast<std::ptrdiff_t>(max_pos) * max_pos)
      for (int i = 0; i < tokens; ++i) {
        const T* const row = table + static_cast<std::ptrdiff_t>(alibi_table_index(i, max_pos, tokens)) * max_pos;
        for (int j = 0; j < tokens; ++j) *out++ = row[alibi_table_index(j, max_pos, tokens)];
      }
  }

  template <class T>
  static void learned_gradient(BasicCpu<Isa>&, int heads, int max_pos, int tokens, const T* dout, T* dtable) {
    for (int h = 0; h < heads; ++h, dtable += static_cast<std::ptrdiff_t>(max_pos) * max_pos)
      for (int i = 0; i < tokens; ++i) {
        T* const row = dtable + static_cast<std::ptrdiff_t>(alibi_table_index(i, max_pos, tokens)) * max_pos;
        for (int j = 0; j < tokens; ++j) row[alibi_table_index(j, max_pos, tokens)] += *dout++;
      }
  }

  template <class T>
  static void gather(BasicCpu<Isa>&, const BiasShape& shape, const T* table, const int* keep, T* bias) {
    for_each(shape, [&](int row, int head, int i, int j, std::ptrdiff_t at) {
      const int* kept = keep + row * shape.visible;
      bias[at] = i < shape.extra || j < shape.extra
                     ? T(0)
                     : table[entry(shape, head, kept[i - shape.extra], kept[j - shape.extra])];
    });
  }

  template <class T>
  static void scale(BasicCpu<Isa>&, const BiasShape& shape, const T* bias, const T* scale, bool per_head, T* scaled) {
    for_each(shape, [&](int, int head, int, int, std::ptrdiff_t at) {
      scaled[at] = bias[at] * positive(scale, per_head, head);
    });
  }

  template <class T>
  static void scale_gradient(BasicCpu<Isa>&, const BiasShape& shape, const T* dscaled, const T* bias, const T* scale,
                             bool per_head, T* dscale) {
    const std::ptrdiff_t square = static_cast<std::ptrdiff_t>(shape.sequence()) * shape.sequence();
    for (int row = 0; row < shape.rows; ++row)
      for (int head = 0; head < shape.heads; ++head) {
        const std::ptrdiff_t start = (static_cast<std::ptrdiff_t>(row) * shape.heads + head) * square;
        double sum = 0;
        for (std::ptrdiff_t at = start; at < start + square; ++at) sum += static_cast<double>(dscaled[at]) * bias[at];
        if (scale[per_head ? head : 0] >= 0) dscale[per_head ? head : 0] += static_cast<T>(sum);
      }
  }

  template <class T>
  static void gather_gradient(BasicCpu<Isa>&, const BiasShape& shape, const T* dscaled, const T* scale, bool per_head,
                              const int* keep, T* dtable) {
    for_each(shape, [&](int row, int head, int i, int j, std::ptrdiff_t at) {
      if (i < shape.extra || j < shape.extra) return;
      const int* kept = keep + row * shape.visible;
      dtable[entry(shape, head, kept[i - shape.extra], kept[j - shape.extra])] +=
          dscaled[at] * positive(scale, per_head, head);
    });
  }

  template <class T>
  static void relative(BasicCpu<Isa>&, const BiasShape& shape, Grid grid, const T* table, const int* keep, T* bias) {
    for_each_relative(shape, grid, keep, [&](std::ptrdiff_t at, std::ptrdiff_t entry) { bias[at] = table[entry]; });
  }

  template <class T>
  static void relative_gradient(BasicCpu<Isa>&, const BiasShape& shape, Grid grid, const T* dbias, const int* keep,
                                T* dtable) {
    for_each_relative(shape, grid, keep, [&](std::ptrdiff_t at, std::ptrdiff_t entry) { dtable[entry] += dbias[at]; });
  }

 private:
  /// f(place in the bias, place in the table).
  template <class F>
  static void for_each_relative(const BiasShape& shape, Grid grid, const int* keep, F&& f) {
    for_each(shape, [&](int row, int head, int i, int j, std::ptrdiff_t at) {
      const auto token = [&](int s) { return s < shape.extra ? -1 : keep[row * shape.visible + s - shape.extra]; };
      f(at, static_cast<std::ptrdiff_t>(relative_row(grid, token(i), token(j))) * shape.heads + head);
    });
  }
  static std::ptrdiff_t entry(const BiasShape& shape, int head, int query, int key) {
    return (static_cast<std::ptrdiff_t>(head) * shape.tokens + query) * shape.tokens + key;
  }
  template <class T>
  static T positive(const T* scale, bool per_head, int head) {
    const T value = scale[per_head ? head : 0];
    return value > 0 ? value : T(0);
  }
  template <class F>
  static void for_each(const BiasShape& shape, F&& f) {
    std::ptrdiff_t at = 0;
    for (int row = 0; row < shape.rows; ++row)
      for (int head = 0; head < shape.heads; ++head)
        for (int i = 0; i < shape.sequence(); ++i)
          for (int j = 0; j < shape.sequence(); ++j) f(row, head, i, j, at++);
  }
};

}  // namespace data2vec::inline v0
