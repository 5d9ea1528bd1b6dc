// SPDX-License-Identifier: MIT
// Images: a convolution whose kernel and stride are the patch, as one matrix product per chunk
// (Dosovitskiy et al., 2021, section 3.1).
#pragma once

#include <data2vec/core/check.hpp>
#include <data2vec/device/patches.hpp>
#include <data2vec/layers/linear.hpp>
#include <data2vec/modality/modality.hpp>

namespace data2vec::inline v0 {

/// Images (in_chans, height, width), already normalised, as tokens on the grid of patches.
template <VisionConfig C>
struct Vision {
  static_assert(check::PatchDividesInput<C.input_size.height, C.patch_size.height> &&
                    check::PatchDividesInput<C.input_size.width, C.patch_size.width>,
                "data2vec: VisionConfig::patch_size must divide VisionConfig::input_size");
  static_assert(check::AtLeast<C.in_chans, 1>, "data2vec: VisionConfig::in_chans must be at least 1");
  static constexpr const char* name = "IMAGE";
  static constexpr VisionConfig vision = C;
  static constexpr ModalityConfig config = C.modality;
  static constexpr Grid grid{C.input_size.height / C.patch_size.height, C.input_size.width / C.patch_size.width};
  static constexpr int tokens = grid.size();
  static constexpr int sample_size = C.in_chans * C.input_size.size();
  static constexpr int patch_values = C.in_chans * C.patch_size.size();
  static constexpr bool fixed_positions = C.fixed_positions;

  /// Patch embedding (B, T, D), with a projection if its own width differs from the model's.
  template <int D>
  struct LocalEncoder {
    static constexpr int width = C.embed_dim == 0 ? D : C.embed_dim;
    static constexpr bool projects = width != D;
    using Embedding = Linear<patch_values, width>;
    using Projection = Linear<width, D>;

    /// The convolution, with the shape of the reference's.
    template <class T>
    struct Convolution {
      View<T, width, C.in_chans, C.patch_size.height, C.patch_size.width> weight;
      View<T, width> bias;
      static constexpr void visit(auto&& f, auto&... p) {
        f(Field{"weight", init::xavier(patch_values, width)}, p.weight...);
        f(Field{"bias", init::fan_in(patch_values)}, p.bias...);
      }
    };
    template <class T>
    struct Direct {
      Convolution<T> proj;
      static constexpr void visit(auto&& f, auto&... p) { f("proj", p.proj...); }
    };
    template <class T>
    struct Projected {
      Convolution<T> proj;
      typename Projection::template Parameters<T> linear;
      static constexpr void visit(auto&& f, auto&... p) {
        f("0.proj", p.proj...);
        f("1", p.linear...);
      }
    };
    template <class T>
    using Parameters = std::conditional_t<projects, Projected<T>, Direct<T>>;

    template <class T, int B>
    struct Tape {
      View<T, B, tokens, patch_values> patches;
      View<T, projects ? B : 1, projects ? tokens : 1, projects ? width : 1> embedded, dembedded;
      static constexpr void visit(auto&& f, auto&... t) {
        f("patches", t.patches...);
        f("embedded", t.embedded...);
        f("dembedded", t.dembedded...);
      }
    };

    static constexpr double flops_per_sample =
        tokens * (Embedding::flops_per_row + (projects ? Projection::flops_per_row : 0));
    static constexpr double backward_flops_per_sample =
        tokens * (Embedding::flops_per_row + (projects ? 2 * Projection::flops_per_row : 0));

    template <Device Dev, class T, int B>
    static void forward(Dev& d, const Parameters<const T>& p, View<const T, B, sample_size> images,
                        View<T, B, tokens, D> out, const Tape<T, B>& tape) {
      device::patches<C.in_chans, C.input_size, C.patch_size>(d, B, images.data, tape.patches.data);  // (B, T, C*p*p)
      const auto y = projects ? tape.embedded.data : out.data;
      device::linear<patch_values, width>(d, B * tokens, tape.patches.data, p.proj.weight.data, p.proj.bias.data, y);
      if constexpr (projects) Projection::forward(d, p.linear, B * tokens, y, out.data);              // (B, T, D)
    }

    /// Images need no gradient.
    template <Device Dev, class T, int B>
    static void backward(Dev& d, const Parameters<const T>& p, View<const T, B, sample_size>,
                         View<const T, B, tokens, D> dout, const Parameters<T>& gradient, const Tape<T, B>& tape) {
      const T* dy = dout.data;
      if constexpr (projects) {
        Projection::backward(d, p.linear, B * tokens, tape.embedded.data, dy, tape.dembedded.data, gradient.linear);
        dy = tape.dembedded.data;
      }
      device::linear_weight_gradient<patch_values, width>(d, B * tokens, dy, tape.patches.data,
                                                          gradient.proj.weight.data, gradient.proj.bias.data);
    }
  };
};

}  // namespace data2vec::inline v0
