// SPDX-License-Identifier: MIT
// Long recordings through a model of a static length: windows with overlap, and which frames of each belong to the
// result. Memory is one window, whatever the length.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// How samples become frames through convolutions without padding: frame t sees the samples hop * t up to
/// hop * t + receptive - 1.
struct FrameGeometry {
  int receptive = 400;  ///< samples that a frame sees: the least that make one
  int hop = 320;        ///< samples from one frame to the next

  /// Frames of `samples` samples. Layer by layer floor((n - kernel) / stride) + 1, which composes to this.
  constexpr std::int64_t frames(std::int64_t samples) const {
    return samples < receptive ? 0 : (samples - receptive) / hop + 1;
  }
  /// The least samples that make `frames` frames.
  constexpr std::int64_t samples(std::int64_t frames) const { return frames < 1 ? 0 : (frames - 1) * hop + receptive; }
  friend constexpr bool operator==(const FrameGeometry&, const FrameGeometry&) = default;
};

/// The geometry of convolutions given as (kernel, stride) pairs, first layer first.
constexpr FrameGeometry frame_geometry(std::span<const std::pair<int, int>> layers) {
  FrameGeometry g{1, 1};
  for (const auto& [kernel, stride] : layers) {
    g.receptive += (kernel - 1) * g.hop;
    g.hop *= stride;
  }
  return g;
}

/// One window of a recording. Its frame j is frame first_frame + j of the recording.
struct Window {
  std::int64_t begin = 0;                     ///< first sample, a multiple of hop
  std::int64_t valid = 0;                     ///< samples of the recording in it; what follows is zero
  std::int64_t first_frame = 0;               ///< begin / hop
  std::int64_t keep_begin = 0, keep_end = 0;  ///< frames of the recording that this window yields
  friend constexpr bool operator==(const Window&, const Window&) = default;
};

/// The windows of a recording: every frame belongs to exactly one of them, in order, and has at least `margin` frames
/// of context in its window on either side, unless the recording itself begins or ends there.
class WindowPlan {
 public:
  /// `window`: samples that the model takes; `margin`: frames of context. Throws OptionError where a window would yield
  /// no frame, MismatchError where the recording has none.
  WindowPlan(std::int64_t samples, std::int64_t window, std::int64_t margin, const FrameGeometry& geometry = {})
      : geometry_(geometry), samples_(samples), window_(window), margin_(margin) {
    if (geometry.receptive < 1 || geometry.hop < 1)
      throw OptionError("WindowPlan: expected receptive and hop of 1 or more, found " +
                        std::to_string(geometry.receptive) + " and " + std::to_string(geometry.hop));
    window_frames_ = geometry.frames(window);
    frames_ = geometry.frames(samples);
    if (margin < 0 || window_frames_ <= 2 * margin)
      throw OptionError("WindowPlan: margin: expected 0 or more, and less than half of the " +
                        std::to_string(window_frames_) + " frames of a window, found " + std::to_string(margin));
    if (frames_ < 1)
      throw MismatchError("WindowPlan: expected a recording of " + std::to_string(geometry.receptive) +
                          " samples or more, found " + std::to_string(samples));
    const std::int64_t step = window_frames_ - 2 * margin;
    if (frames_ > window_frames_) count_ = (frames_ - window_frames_ + step - 1) / step + 1;
  }

  std::int64_t frames() const { return frames_; }                ///< of the recording
  std::int64_t window_frames() const { return window_frames_; }  ///< of one window
  std::int64_t samples() const { return samples_; }
  std::int64_t window() const { return window_; }  ///< samples
  std::int64_t size() const { return count_; }     ///< windows

  /// Window i, 0 <= i < size(). The last one is moved back to end with the recording.
  Window operator[](std::int64_t i) const {
    const std::int64_t step = window_frames_ - 2 * margin_;
    const bool first = i == 0, last = i + 1 == count_;
    Window w;
    w.first_frame = last && !first ? frames_ - window_frames_ : i * step;
    w.begin = w.first_frame * geometry_.hop;
    w.valid = std::min(window_, samples_ - w.begin);
    w.keep_begin = first ? 0 : i * step + margin_;
    w.keep_end = last ? frames_ : (i + 1) * step + margin_;
    return w;
  }

 private:
  FrameGeometry geometry_;
  std::int64_t samples_, window_, margin_, frames_ = 0, window_frames_ = 0, count_ = 1;
};

/// Reads a recording window by window, each sample once: what two windows share is kept.
class WindowReader {
 public:
  explicit WindowReader(const WindowPlan& plan) : plan_(plan), memory_(static_cast<std::size_t>(plan.window())) {}

  std::int64_t next() const { return next_; }  ///< number of the window that read() returns
  bool done() const { return next_ == plan_.size(); }

  /// The next window and its samples, valid until the next call: those of the recording, then zeros. `source(span)`
  /// returns how many of the recording's next samples it wrote, normalised if that is wanted. Throws MismatchError
  /// where it has fewer than the plan says, OptionError after the last window.
  template <class Source>
  std::pair<Window, std::span<const float>> read(Source&& source) {
    if (done()) throw OptionError("WindowReader: expected at most " + std::to_string(next_) + " windows, found more");
    const Window w = plan_[next_];
    const auto held = static_cast<std::size_t>(std::max<std::int64_t>(0, read_ - w.begin));
    std::copy_n(memory_.begin() + static_cast<std::ptrdiff_t>(held_ - held), held, memory_.begin());
    while (read_ < w.begin) fill(source, static_cast<std::size_t>(std::min(w.begin - read_, plan_.window())), 0);
    const auto valid = static_cast<std::size_t>(w.valid);
    if (held < valid) fill(source, valid - held, held);
    std::fill(memory_.begin() + static_cast<std::ptrdiff_t>(valid), memory_.end(), 0.0f);
    held_ = valid;
    ++next_;
    return {w, std::span<const float>(memory_)};
  }

 private:
  template <class Source>
  void fill(Source& source, std::size_t count, std::size_t at) {
    const std::size_t got = source(std::span<float>(memory_).subspan(at, count));
    read_ += static_cast<std::int64_t>(got);
    if (got != count)
      throw MismatchError("WindowReader: expected a recording of " + std::to_string(plan_.samples()) +
                          " samples, found " + std::to_string(read_));
  }

  WindowPlan plan_;
  std::vector<float> memory_;  // (window)
  std::int64_t next_ = 0, read_ = 0;
  std::size_t held_ = 0;  // samples at the front of memory_, the last of them being number read_ - 1
};

}  // namespace data2vec::inline v0
