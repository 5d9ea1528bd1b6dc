// SPDX-License-Identifier: MIT
// What hides parts of an utterance from a recogniser in training (SpecAugment, Park et al., 2019, as wav2vec 2.0,
// section 4.3, has it): spans of frames become noise or zero, spans of channels become zero.
#pragma once

#include <algorithm>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/core/parameter.hpp>
#include <data2vec/device/dropout.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/layers/dropout.hpp>
#include <data2vec/masking/span.hpp>

namespace data2vec::inline v0 {

/// Under the reference's names; a probability of 0: none.
struct TokenMaskOptions {
  double mask_prob = 0;          ///< of a frame being hidden, before spans overlap
  int mask_length = 10;          ///< frames of a span
  bool zero_mask = false;        ///< hidden frames are zero, not noise
  double mask_noise_std = 0.01;  ///< standard deviation of the noise
  double mask_channel_prob = 0;  ///< of a channel being zero in all frames of an utterance
  int mask_channel_length = 64;  ///< channels of a span

  /// Throws OptionError, naming the field, if one is out of range.
  void validate() const {
    const auto expect = [](bool fulfilled, const char* sentence, double found) {
      if (!fulfilled)
        throw OptionError(std::string("TokenMaskOptions::") + sentence + ", found " + std::to_string(found));
    };
    expect(mask_prob >= 0 && mask_prob < 1, "mask_prob: expected 0 or more, below 1", mask_prob);
    expect(mask_channel_prob >= 0 && mask_channel_prob < 1, "mask_channel_prob: expected 0 or more, below 1",
           mask_channel_prob);
    expect(mask_length >= 1, "mask_length: expected 1 or more", mask_length);
    expect(mask_channel_length >= 1, "mask_channel_length: expected 1 or more", mask_channel_length);
    expect(mask_noise_std >= 0, "mask_noise_std: expected 0 or more", mask_noise_std);
  }
};

/// The masks of B utterances of T tokens of width D: frames and channels that are hidden, 1 or 0.
template <int B, int T_, int D>
struct TokenMasks {
  View<int, B, T_> frames;
  View<int, B, D> channels;
  static constexpr void visit(auto&& f, auto&... m) {
    f("frames", m.frames...);
    f("channels", m.channels...);
  }

  void clear() const {
    std::fill_n(frames.data, frames.size, 0);
    std::fill_n(channels.data, channels.size, 0);
  }

  /// Draws the masks of each utterance, of which the first valid[b] frames are no padding, from its id alone: the
  /// reference also makes the rows of a batch hide equally many. What would be hidden whole is not hidden at all (the
  /// reference raises an error there).
  void draw(const Draws& draws, const TokenMaskOptions& o, const int* valid) const {
    clear();
    const auto spans = [&](int b, std::uint32_t layer, int size, int used, double prob, int length, int least,
                           int* to) {
      if (prob <= 0) return;
      bool marks[T_ > D ? T_ : D];
      Rng rng(draws.at(Site::masks, layer, 0).key(b));
      if (span_mask(rng, size, used, prob, length, marks, least) >= used) return;
      for (int i = 0; i < size; ++i) to[i] = marks[i];
    };
    for (int b = 0; b < B; ++b) {
      spans(b, 0, T_, valid[b], o.mask_prob, o.mask_length, 1, frames[b].data);
      spans(b, 1, D, D, o.mask_channel_prob, o.mask_channel_length, 0, channels[b].data);
    }
  }

  /// Hides tokens (B, T, D). Hidden frames are zero, or the rows of `noise` in the order of the hidden frames, or drawn
  /// with that deviation where it is null.
  template <class Dev, class T>
  void apply(Dev& d, View<T, B, T_, D> tokens, bool zero, Draws draws, double deviation, const T* noise) const {
    for (int b = 0; b < B; ++b) {
      for (int t = 0; t < T_; ++t) {
        if (!frames[b][t]) continue;
        T* const token = tokens[b][t].data;
        if (zero) {
          device::fill(d, static_cast<std::size_t>(D), 0, token);
        } else if (noise) {
          device::copy(d, static_cast<std::size_t>(D), noise, token);
          noise += D;
        } else {
          Draws own = draws;
          own.sample_ids += b;
          device::normal_noise(d, 1, D, own.at(Site::noise, static_cast<std::uint32_t>(t), deviation), token);
        }
      }
      zero_channels(tokens[b].data, channels[b].data);
    }
  }

  /// The same with `mask_emb` (D) in the place of hidden frames.
  template <class Dev, class T>
  void apply(Dev& d, View<T, B, T_, D> tokens, const T* mask_emb) const {
    for (int b = 0; b < B; ++b) {
      for (int t = 0; t < T_; ++t)
        if (frames[b][t]) device::copy(d, static_cast<std::size_t>(D), mask_emb, tokens[b][t].data);
      zero_channels(tokens[b].data, channels[b].data);
    }
  }

  /// What is hidden gets no gradient: dtokens (B, T, D). `dmask_emb` (D), unless null, is added what was there.
  template <class Dev, class T>
  void apply_backward(Dev& d, View<T, B, T_, D> dtokens, Out<T> dmask_emb = nullptr) const {
    for (int b = 0; b < B; ++b) {
      zero_channels(dtokens[b].data, channels[b].data);
      for (int t = 0; t < T_; ++t) {
        if (!frames[b][t]) continue;
        if (dmask_emb) device::add(d, static_cast<std::size_t>(D), dmask_emb, dtokens[b][t].data, dmask_emb);
        device::fill(d, static_cast<std::size_t>(D), 0, dtokens[b][t].data);
      }
    }
  }

 private:
  template <class T>
  static void zero_channels(T* tokens, const int* hidden) {
    for (int c = 0; c < D; ++c)
      if (hidden[c])
        for (int t = 0; t < T_; ++t) tokens[t * D + c] = 0;
  }
};

}  // namespace data2vec::inline v0
