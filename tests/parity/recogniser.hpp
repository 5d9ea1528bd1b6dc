// SPDX-License-Identifier: MIT
// One fine-tuning case of speech to letters against the reference: features, logits, loss, gradients.
#pragma once

#include <data2vec/finetune/recogniser.hpp>

#include "pretrain.hpp"

namespace data2vec::parity {

/// Runs a case of CTC fine-tuning with B utterances. `Model` is the encoder's pre-training type.
template <class Model, int symbols, int B>
void run_recogniser(const Case& c, Report& r) {
  using Net = Recogniser<Model, symbols>;
  using Parameters = typename Net::template Parameters<float>;
  constexpr int T_ = Net::T_, D = Net::D, size = Net::M::sample_size;
  const auto& table = tensor_table<Parameters>;
  Buffer<float> weights(buffer_size<Parameters>), gradient(buffer_size<Parameters>);
  for (const TensorInfo& info : table) {
    const auto values = c.f32("params." + std::string(info.name.view()), info.size);
    std::copy(values.begin(), values.end(), weights.data() + info.offset);
  }
  for (const std::string& prefix : {std::string("params."), std::string("grad.")})
    for (const std::string& name : c.names(prefix))
      r.expect(std::any_of(table.begin(), table.end(),
                           [&](const TensorInfo& info) { return prefix + std::string(info.name.view()) == name; }),
               name + ": the model has no such tensor");
  int lengths[B], valid[B];
  std::fill(lengths, lengths + B, size);
  if (c.has("in.padding_mask")) {
    const auto mask = c.u8("in.padding_mask");
    for (int b = 0; b < B; ++b) {
      const auto* row = mask.data() + b * size;
      lengths[b] = static_cast<int>(std::find(row, row + size, 1) - row);
      r.expect(std::all_of(row + lengths[b], row + size, [](std::uint8_t m) { return m == 1; }),
               "in.padding_mask: padding stands at the end");
    }
  }
  Net::template valid_frames<B>(lengths, valid);
  r.check(Quantity::exact, "out.input_lengths", c.i32("out.input_lengths"), {valid, B});
  if (c.has("out.padding_mask"))
    for (int i = 0; i < B * T_; ++i)
      r.expect((c.u8("out.padding_mask")[static_cast<std::size_t>(i)] != 0) == (i % T_ >= valid[i / T_]),
               "out.padding_mask: frames behind the valid ones");

  const auto target_lengths = c.i32("in.target_lengths"), labels = c.i32("in.targets");
  const int most = static_cast<int>(labels.size()) / B;
  CtcBatch targets(B, T_, most);
  for (int b = 0; b < B; ++b)
    targets.set(b, labels.subspan(static_cast<std::size_t>(b * most), static_cast<std::size_t>(target_lengths[b])),
                valid[b]);
  Buffer<float> workspace(buffer_size<typename Net::template Workspace<float, B>>);
  Buffer<int> indices(buffer_size<typename Net::template Index<B>>);
  const auto w = bind<typename Net::template Workspace<float, B>>(workspace.data());
  const auto index = bind<typename Net::template Index<B>>(indices.data());
  const auto p = bind<typename Net::template Parameters<const float>>(static_cast<const float*>(weights.data()));
  const View<const float, B, size> samples{c.f32("in.source", B * size).data()};
  index.masks.clear();
  const auto take = [&](const char* name, int* to) {
    if (c.has(name)) std::copy(c.u8(name).begin(), c.u8(name).end(), to);
  };
  if (c.flag("apply_mask")) take("in.time_mask", index.masks.frames.data);
  if (c.flag("apply_mask")) take("in.channel_mask", index.masks.channels.data);
  typename Net::template Hiding<float> hiding{.zero = c.flag("encoder_zero_mask")};
  if (c.has("in.mask_noise")) {
    const auto hidden = std::count(index.masks.frames.data, index.masks.frames.data + B * T_, 1);
    hiding.noise = c.f32("in.mask_noise", static_cast<std::size_t>(hidden * D)).data();
  }
  Cpu cpu;
  const std::array<std::uint32_t, B> ids{};
  const Pass<Cpu, true> pass{cpu, {.sample_ids = ids.data()}};
  const CtcSums sums = Net::step(pass, p, bind<Parameters>(gradient.data()), samples, B, targets,
                                 c.number("sample_size"), w, index, hiding, lengths);
  const auto compare = [&](Quantity quantity, const std::string& name, const float* found, std::size_t count) {
    r.check(quantity, name, c.f32(name, count), {found, count});
  };
  r.check_value(Quantity::loss, "out.loss_total", c.value("out.loss_total", 0), sums.loss);
  // The reference has (T, B, symbols); what it writes into frames that are padding is no part of the loss.
  std::vector<float> found, expected;
  const auto theirs = c.f32("out.logits", T_ * B * symbols);
  for (int t = 0; t < T_; ++t)
    for (int b = 0; b < B; ++b)
      for (int s = 0; t < valid[b] && s < symbols; ++s) {
        found.push_back(w.logits[b][t][s]);
        expected.push_back(theirs[static_cast<std::size_t>((t * B + b) * symbols + s)]);
      }
  r.check(Quantity::activation, "out.logits", expected, found);
  for (const TensorInfo& info : table) {
    const std::string name = "grad." + std::string(info.name.view());
    r.expect(c.has(name), name + ": the reference has no such gradient");
    const auto quantity = name.ends_with("alibi_scale") ? Quantity::cancelling_gradient : Quantity::gradient;
    if (c.has(name)) compare(quantity, name, gradient.data() + info.offset, info.size);
  }
  const auto encoded = Net::forward(pass, p, samples, w, index, hiding, lengths);
  compare(Quantity::activation, "out.features", encoded.data, encoded.size);
}

/// The CTC loss on its own.
template <int symbols, int frames, int B>
void run_ctc(const Case& c, Report& r) {
  const auto given = c.f32("in.logits", frames * B * symbols);            // (T, B, symbols)
  std::vector<float> logits(given.size()), gradient(given.size()), turned(given.size());
  const auto at = [](int b, int t, int s) { return static_cast<std::size_t>((b * frames + t) * symbols + s); };
  const auto theirs = [](int b, int t, int s) { return static_cast<std::size_t>((t * B + b) * symbols + s); };
  const auto each = [&](auto&& f) {
    for (int b = 0; b < B; ++b)
      for (int t = 0; t < frames; ++t)
        for (int s = 0; s < symbols; ++s) f(b, t, s);
  };
  each([&](int b, int t, int s) { logits[at(b, t, s)] = given[theirs(b, t, s)]; });
  const auto labels = c.i32("in.targets"), target_lengths = c.i32("in.target_lengths"),
             input_lengths = c.i32("in.input_lengths");
  const int most = static_cast<int>(labels.size()) / B;
  CtcBatch targets(B, frames, most);
  for (int b = 0; b < B; ++b)
    targets.set(b, labels.subspan(static_cast<std::size_t>(b * most), static_cast<std::size_t>(target_lengths[b])),
                input_lengths[b]);
  Cpu cpu;
  const auto losses = [&](bool zero_infinity, const std::string& name) {
    std::vector<double> found(B);
    const CtcSums sums = targets.loss<symbols>(cpu, B, logits.data(), CtcOptions{0, zero_infinity}, 1, found.data(),
                                               gradient.data());
    const std::vector<float> each_loss(found.begin(), found.end());
    r.check(Quantity::loss_element, name, c.f32(name, B), each_loss);
    return sums.loss;
  };
  losses(false, "out.loss_per_example_without_zero_infinity");
  r.check_value(Quantity::loss, "out.loss_total", c.value("out.loss_total", 0), losses(true, "out.loss_per_example"));
  each([&](int b, int t, int s) { turned[theirs(b, t, s)] = gradient[at(b, t, s)]; });
  r.check(Quantity::gradient, "grad.logits", c.f32("grad.logits", turned.size()), turned);
}

}  // namespace data2vec::parity
