// SPDX-License-Identifier: MIT
// Writes what an encoder makes of text: of any layer, tokens pooled or not, to .npy or .safetensors.
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/utf8.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/io/npy.hpp>
#include <data2vec/io/safetensors.hpp>

#include "examples/common/program.hpp"
#include "examples/text/encoder.hpp"

namespace {

namespace d2v = data2vec;
using Extractor = demo::FeatureExtractor;

struct Options {
  demo::SizeOptions size;
  demo::EncoderOptions encoder;
  std::string data, out, pooling = "mean";
  int layer = Extractor::last_layer, threads = 0;
};

/// One text a line; empty lines are texts too, so that row i of the features is line i.
d2v::LabelledText lines_of(const std::string& path) {
  const d2v::MappedFile file(path);
  d2v::check_utf8(path, file.text(), d2v::BadUtf8::refuse);
  d2v::LabelledText texts;
  for (std::string_view rest = file.text(); !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    texts.text.emplace_back(line);
  }
  if (texts.text.empty()) throw d2v::FileError(path, "expected lines of text, found none");
  return texts;
}

void run(const Options& o) {
  o.size.expect();
  const bool npy = o.out.ends_with(".npy");
  if (!npy && !o.out.ends_with(".safetensors"))
    throw demo::UsageError("--out: expected a name that ends in .npy or .safetensors, found " + o.out);
  demo::expect_data(o.data);
  const demo::TextEncoder encoder(o.encoder);
  const demo::Samples samples(lines_of(o.data), encoder.vocabulary);
  const demo::Pool pool = demo::pool_names.at(o.pooling);
  const std::size_t width = Extractor::width(pool);
  std::vector<float> values(samples.size() * width);
  Extractor(o.threads)(encoder.weights().data(), samples.ids.data(), samples.size(), pool, o.layer, values.data());
  if (demo::interrupted) return;
  std::vector<std::int64_t> shape{static_cast<std::int64_t>(samples.size())};
  if (pool == demo::Pool::none) shape.push_back(Extractor::F::S);
  shape.push_back(Extractor::D);
  if (npy) {
    d2v::NpyWriter<float> writer(o.out, shape);
    writer.write(values);
    writer.commit();
  } else {
    const std::vector<d2v::Tensor> tensors{
        d2v::make_tensor<float>("features", shape, values),
        d2v::make_tensor<std::int32_t>("tokens", {shape[0], demo::tokens}, samples.ids)};
    d2v::write_safetensors(o.out, tensors, {{"layer", std::to_string(o.layer)}});
  }
  std::printf("features %s of layer %d of the lines of %s to %s\n", d2v::shape_text(shape).c_str(), o.layer,
              o.data.c_str(), o.out.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Writes the features of an encoder for the lines of a text file."};
  app.option_defaults()->always_capture_default();
  o.encoder.add_to(app, true);
  o.size.add_to(app);
  app.add_option("--data", o.data, "a text file, one text a line")->required();
  app.add_option("--layer", o.layer, "0: in front of the shared blocks, i: behind block i")
      ->check(CLI::Range(0, Extractor::last_layer));
  app.add_option("--pool", o.pooling, "of a text's tokens: their mean, the first, or all of them")
      ->check(CLI::IsMember({"mean", "first", "none"}));
  app.add_option("--out", o.out, "file: .npy (the features), .safetensors (features and tokens)")->required();
  app.add_option("--threads", o.threads, "0: all of the machine; the result does not depend on it")
      ->check(CLI::NonNegativeNumber);
  return demo::run_program("extract_features", app, argc, argv, [&] { run(o); });
}
