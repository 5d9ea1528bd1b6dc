// SPDX-License-Identifier: MIT
// IDX files: plain and gzip, and every way in which they can be wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

#include <data2vec/data/idx.hpp>

namespace d2v = data2vec;
namespace fs = std::filesystem;

namespace {

using Bytes = std::vector<std::uint8_t>;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("d2v_idx_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string write(const std::string& name, const Bytes& bytes) const {
    std::ofstream(path / name, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()),
                                                       static_cast<std::streamsize>(bytes.size()));
    return (path / name).string();
  }
};

Bytes idx(std::initializer_list<std::uint32_t> words, std::size_t payload) {
  Bytes bytes;
  for (const std::uint32_t word : words)
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(word >> shift));
  for (std::size_t i = 0; i < payload; ++i) bytes.push_back(static_cast<std::uint8_t>(i * 7));
  return bytes;
}

Bytes gzip(const Bytes& plain) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  Bytes out(deflateBound(&stream, plain.size()) + 64);
  Bytes in = plain;
  stream.next_in = in.data();
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

template <class Read>
std::string error_of(Read read) {
  try {
    read();
  } catch (const d2v::FileError& error) {
    return error.what();
  }
  return "";
}

const Bytes images = idx({0x803, 3, 2, 4}, 24), labels = idx({0x801, 3}, 3);

}  // namespace

TEST_CASE("idx: plain and gzip files, under any name, hold the same") {
  const Folder folder;
  Bytes twice = gzip(Bytes(images.begin(), images.begin() + 10)), rest = gzip(Bytes(images.begin() + 10, images.end()));
  twice.insert(twice.end(), rest.begin(), rest.end());  // two members are one content
  for (const Bytes& bytes : {images, gzip(images), twice}) {
    const auto read = d2v::read_idx_images(folder.write("any-name", bytes));
    CHECK(read.count == 3);
    CHECK(read.rows == 2);
    CHECK(read.cols == 4);
    CHECK(read.pixels == Bytes(images.begin() + 16, images.end()));
  }
  for (const Bytes& bytes : {labels, gzip(labels)})
    CHECK(d2v::read_idx_labels(folder.write("l", bytes)) == Bytes{0, 7, 14});
}

TEST_CASE("idx: what is wrong, where, expected and found") {
  const Folder folder;
  const auto images_error = [&](const Bytes& bytes) {
    const std::string path = folder.write("f", bytes);
    const std::string text = error_of([&] { d2v::read_idx_images(path); });
    CHECK(text.rfind(path + ": ", 0) == 0);
    return text.substr(std::min(text.size(), path.size() + 2));
  };
  const std::string no_file = error_of([&] { d2v::read_idx_images((folder.path / "no").string()); });
  CHECK(no_file.find("expected a file, found none") != std::string::npos);
  CHECK(images_error({}) == "truncated at offset 0: expected 4 bytes of magic number, found 0");
  CHECK(images_error(labels) == "magic number at offset 0: expected 0x00000803 (images), found 0x00000801");
  CHECK(images_error(idx({0x803, 3, 2}, 0)) == "truncated at offset 12: expected 4 bytes of columns, found 0");
  CHECK(images_error(idx({0x803, 3, 2, 4}, 23)) == "truncated at offset 39: expected 24 bytes of pixels, found 23");
  CHECK(images_error(idx({0x803, 3, 2, 4}, 25)) == "trailing bytes at offset 40: expected the end, found more data");
  CHECK(images_error(gzip(idx({0x803, 3, 2, 4}, 25))) ==
        "trailing bytes at offset 40: expected the end, found more data");
  CHECK(images_error(gzip(idx({0x803, 3, 2, 4}, 20))) ==
        "truncated at offset 36: expected 24 bytes of pixels, found 20");
  CHECK(images_error(idx({0x803, 0, 2, 4}, 0)) == "number of images at offset 4: expected 1 to 2^31 - 1, found 0");
  CHECK(images_error(idx({0x803, 3, 0xffffffff, 4}, 0)) ==
        "rows at offset 8: expected 1 to 2^31 - 1, found 4294967295");
  CHECK(images_error(idx({0x803, 0x7fffffff, 0x7fffffff, 0x7fffffff}, 9)).rfind("truncated at offset 25", 0) == 0);
  const Bytes packed = gzip(images);
  Bytes wrong_sum = packed, wrong_length = packed, more = packed;
  wrong_sum[packed.size() - 8] ^= 1;
  wrong_length[packed.size() - 4] ^= 1;
  more.push_back(0);
  CHECK(images_error(wrong_sum).rfind("gzip: wrong checksum at byte ", 0) == 0);
  CHECK(images_error(wrong_length).rfind("gzip: wrong checksum at byte ", 0) == 0);
  CHECK(images_error(more).rfind("gzip: trailing bytes at byte ", 0) == 0);
  for (std::size_t size = 2; size < packed.size(); ++size) {
    CAPTURE(size);
    CHECK(images_error(Bytes(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size))) ==
          "gzip: truncated at byte " + std::to_string(size) +
              " of the compressed file: expected more compressed data, found the end of the file");
  }
  const std::string not_labels = error_of([&] { d2v::read_idx_labels(folder.write("l", images)); });
  CHECK(not_labels.find("expected 0x00000801 (labels), found 0x00000803") != std::string::npos);
}

TEST_CASE("idx: content of more than one piece of memory; a number that is far too large takes no memory") {
  const Folder folder;
  constexpr std::uint32_t rows = 5000, cols = 7001;  // 35 MB: three pieces
  Bytes large = idx({0x803, 1, rows, cols}, std::size_t{rows} * cols);
  for (const Bytes& bytes : {large, gzip(large)}) {
    const auto read = d2v::read_idx_images(folder.write("large", bytes));
    CHECK(std::equal(read.pixels.begin(), read.pixels.end(), large.begin() + 16, large.end()));
  }
  Bytes wrong = idx({0x803, 300, 5000, 1000}, std::size_t{1} << 21);  // says 1.5 GB
  std::uint32_t noise = 1;
  for (std::size_t i = 16; i < wrong.size(); ++i) {
    noise = 1664525 * noise + 1;
    wrong[i] = static_cast<std::uint8_t>(noise >> 24);
  }
  const std::string path = folder.write("f", gzip(wrong));
  REQUIRE(fs::file_size(path) * 1032 > 1'500'000'000);  // such a file could hold it
  const auto most_memory = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // KiB
  };
  const long before = most_memory();
  CHECK(error_of([&] { d2v::read_idx_images(path); }) ==
        path + ": truncated at offset 2097168: expected 1500000000 bytes of pixels, found 2097152");
  CHECK(most_memory() - before < 256 * 1024);
}

TEST_CASE("idx: another type or rank than bytes of images or labels is refused by its magic number") {
  const Folder folder;
  for (const std::uint32_t magic : {0x00000d03u, 0x00000804u, 0x03080000u, 0x00000000u}) {
    const std::string path = folder.write("f", idx({magic, 3, 2, 4}, 24));
    for (const std::string& text : {error_of([&] { d2v::read_idx_images(path); }),
                                    error_of([&] { d2v::read_idx_labels(path); })})
      CHECK(text.find("magic number at offset 0: expected 0x0000080") != std::string::npos);
  }
}

TEST_CASE("idx: a data set of four files, each with or without .gz") {
  const Folder folder;
  const std::string path = folder.path.string();
  folder.write("train-images-idx3-ubyte.gz", gzip(images));
  CHECK(error_of([&] { d2v::read_idx_dataset(path); }) ==
        path + ": expected a file train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz, found neither");
  const std::string train_labels = folder.write("train-labels-idx1-ubyte", labels);
  folder.write("t10k-images-idx3-ubyte", idx({0x803, 1, 2, 4}, 8));
  folder.write("t10k-labels-idx1-ubyte.gz", gzip(idx({0x801, 1}, 1)));
  const auto data = d2v::read_idx_dataset(path);
  CHECK(data.train.images.count == 3);
  CHECK(data.train.labels.size() == 3);
  CHECK(data.test.images.pixels.size() == 8);
  folder.write("train-labels-idx1-ubyte", idx({0x801, 2}, 2));
  const std::string counts = error_of([&] { d2v::read_idx_dataset(path); });
  CHECK(counts.rfind(train_labels + ": number of labels: expected 3 as in ", 0) == 0);
  folder.write("train-labels-idx1-ubyte", labels);
  folder.write("t10k-images-idx3-ubyte", idx({0x803, 1, 4, 2}, 8));
  CHECK(error_of([&] { d2v::read_idx_dataset(path); }) ==
        path + ": size of the test images: expected 2 x 4 as in training, found 4 x 2");
}
