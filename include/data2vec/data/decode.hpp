// SPDX-License-Identifier: MIT
// PNG (libpng) and JPEG (libjpeg) to 8-bit grey or RGB, told apart by content and never by name. Part of
// data2vec::images. Both libraries report errors by longjmp: the functions that call setjmp own no C++ object.
#pragma once

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h needs FILE
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <jpeglib.h>
#include <jerror.h>
#include <png.h>

#include <data2vec/core/error.hpp>
#include <data2vec/data/pixels.hpp>
#include <data2vec/io/file.hpp>

namespace data2vec::inline v0 {

/// An image file that cannot be used. `reason` is one of: "not an image", "truncated", "corrupt", "unsupported",
/// "too large"; the text says more.
struct ImageError : FileError {
  ImageError(const std::string& file, const char* why, const std::string& what)
      : FileError(file, std::string(why) + ": " + what), reason(why) {}
  std::string reason;
};

/// Height and width of a decoded image are at most this.
inline constexpr int max_image_side = 16384;

/// Scans of a progressive JPEG are at most this: a small file with thousands of them would take minutes.
inline constexpr int max_jpeg_scans = 500;

/// What a file says about its image, before any pixel is decoded.
struct ImageInfo {
  int height = 0, width = 0, channels = 0;  ///< 1 grey, 3 RGB: as it will be decoded
};

namespace detail {

/// What both decoders share: the bytes, what went wrong, and where to go then.
struct DecodeState {
  std::span<const std::byte> bytes;
  std::size_t consumed = 0;
  const char* reason = "corrupt";
  std::array<char, JMSG_LENGTH_MAX> message{};
  std::jmp_buf jump{};
  ImageInfo info;

  void say(const char* text) {
    const std::size_t length = std::min(std::strlen(text), message.size() - 1);
    std::copy_n(text, length, message.begin());
    message[length] = 0;
  }
};

inline void check_image_size(const std::string& file, std::uint64_t height, std::uint64_t width, std::uint64_t most) {
  const std::string found = std::to_string(height) + " x " + std::to_string(width);
  if (height < 1 || width < 1) throw ImageError(file, "corrupt", "size: expected 1 x 1 or more, found " + found);
  if (height > max_image_side || width > max_image_side)
    throw ImageError(file, "too large",
                     "size: expected at most " + std::to_string(max_image_side) + " a side, found " + found);
  if (height * width > most)
    throw ImageError(file, "truncated", "size: expected at most " + std::to_string(most) +
                                            " pixels from a file of this length, found " + found);
}

/// libpng behind two steps, header and pixels. Each returns false with the state saying why.
class PngDecoder {
 public:
  explicit PngDecoder(std::span<const std::byte> bytes) {
    state_.bytes = bytes;
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state_, &PngDecoder::on_error, &PngDecoder::on_warning);
    if (png_) info_ = png_create_info_struct(png_);
  }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  const DecodeState& state() const { return state_; }

  /// Deflate shrinks by less than 1032 to 1 (zlib, "Technical details"), and a pixel may be a single bit.
  std::uint64_t most_pixels() const { return std::uint64_t{state_.bytes.size()} * 1032 * 8; }

  bool header() {
    if (!info_) return false;
    if (setjmp(state_.jump)) return false;
    png_set_read_fn(png_, &state_, &PngDecoder::read);
    png_set_user_limits(png_, 0x7fffffff, 0x7fffffff);  // sizes are checked after the header, with a text of our own
    png_read_info(png_, info_);
    const bool colour = (png_get_color_type(png_, info_) & PNG_COLOR_MASK_COLOR) != 0;  // a palette is colour
    state_.info.channels = colour ? 3 : 1;
    state_.info.height = static_cast<int>(png_get_image_height(png_, info_));
    state_.info.width = static_cast<int>(png_get_image_width(png_, info_));
    return true;
  }

  std::size_t scratch_size() const { return 0; }

  bool pixels(std::uint8_t* out, std::uint8_t*) {  // (height, width, channels)
    if (setjmp(state_.jump)) return false;
    png_set_scale_16(png_);
    png_set_palette_to_rgb(png_);
    if (png_get_bit_depth(png_, info_) < 8) png_set_expand_gray_1_2_4_to_8(png_);
    png_set_strip_alpha(png_);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    const auto height = static_cast<std::size_t>(state_.info.height);
    const auto line = static_cast<std::size_t>(state_.info.width) * static_cast<std::size_t>(state_.info.channels);
    if (png_get_rowbytes(png_, info_) != line) png_error(png_, "unexpected layout of rows");
    for (int pass = 0; pass < passes; ++pass)
      for (std::size_t y = 0; y < height; ++y) png_read_row(png_, out + y * line, nullptr);
    png_read_end(png_, nullptr);
    return true;
  }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto& state = *static_cast<DecodeState*>(png_get_error_ptr(png));
    state.say(message);
    std::longjmp(state.jump, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}  // of what decoders may ignore, by the PNG specification

  static void read(png_structp png, png_bytep to, std::size_t count) {
    auto& state = *static_cast<DecodeState*>(png_get_io_ptr(png));
    if (count > state.bytes.size() - state.consumed) {
      state.reason = "truncated";
      png_error(png, "expected more data, found the end of the file");
    }
    std::memcpy(to, state.bytes.data() + state.consumed, count);
    state.consumed += count;
  }

  DecodeState state_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

/// libjpeg behind the same two steps. CMYK and YCCK are converted to RGB.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::span<const std::byte> bytes) {
    state_.bytes = bytes;
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = &state_;
    errors_.error_exit = &JpegDecoder::on_error;
    errors_.emit_message = &JpegDecoder::on_message;
    errors_.output_message = [](j_common_ptr) {};
    progress_.progress_monitor = &JpegDecoder::on_progress;
  }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&jpeg_); }

  const DecodeState& state() const { return state_; }

  /// Huffman coding spends at least one bit on a block of 8 x 8 samples; arithmetic coding has no such bound.
  std::uint64_t most_pixels() const {
    const std::uint64_t side = max_image_side + std::uint64_t{8};  // blocks at the edges are incomplete
    return jpeg_.arith_code ? side * side : (std::uint64_t{state_.bytes.size()} * 8 + 8) * 64;
  }

  /// A line of CMYK needs a place of its own.
  std::size_t scratch_size() const {
    return jpeg_.out_color_space == JCS_CMYK ? std::size_t{jpeg_.image_width} * 4 : 0;
  }

  bool header() {
    if (setjmp(state_.jump)) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_.client_data = &state_;
    jpeg_.progress = &progress_;
    jpeg_mem_src(&jpeg_, reinterpret_cast<const unsigned char*>(state_.bytes.data()),
                 static_cast<unsigned long>(state_.bytes.size()));
    jpeg_read_header(&jpeg_, TRUE);
    switch (jpeg_.jpeg_color_space) {
      case JCS_GRAYSCALE: jpeg_.out_color_space = JCS_GRAYSCALE; break;
      case JCS_YCbCr: case JCS_RGB: jpeg_.out_color_space = JCS_RGB; break;
      case JCS_CMYK: case JCS_YCCK: jpeg_.out_color_space = JCS_CMYK; break;
      default:
        state_.reason = "unsupported";
        state_.say("expected a JPEG of 1, 3 or 4 known components, found another colour space");
        return false;
    }
    state_.info.channels = jpeg_.out_color_space == JCS_GRAYSCALE ? 1 : 3;
    state_.info.height = static_cast<int>(jpeg_.image_height);
    state_.info.width = static_cast<int>(jpeg_.image_width);
    return true;
  }

  bool pixels(std::uint8_t* out, std::uint8_t* cmyk) {  // (height, width, channels); (width, 4) or null
    if (setjmp(state_.jump)) return false;
    jpeg_start_decompress(&jpeg_);
    const std::size_t width = jpeg_.output_width;
    while (jpeg_.output_scanline < jpeg_.output_height) {
      std::uint8_t* row = out + jpeg_.output_scanline * width * static_cast<std::size_t>(state_.info.channels);
      JSAMPROW to = cmyk ? cmyk : row;
      jpeg_read_scanlines(&jpeg_, &to, 1);
      if (cmyk) rgb_of_cmyk(cmyk, row, width, jpeg_.saw_Adobe_marker != 0);
    }
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

 private:
  /// R = (255 - C) (255 - K) / 255 and so on, as Pillow; files with Adobe's marker hold the complements.
  static void rgb_of_cmyk(const std::uint8_t* cmyk, std::uint8_t* rgb, std::size_t width, bool complements) {
    for (std::size_t x = 0; x < width; ++x, cmyk += 4)
      for (int c = 0; c < 3; ++c) {
        const int colour = complements ? cmyk[c] : 255 - cmyk[c], black = complements ? cmyk[3] : 255 - cmyk[3];
        *rgb++ = static_cast<std::uint8_t>((colour * black + 127) / 255);
      }
  }

  [[noreturn]] static void on_error(j_common_ptr jpeg) {
    auto& state = *static_cast<DecodeState*>(jpeg->client_data);
    const int code = jpeg->err->msg_code;
    jpeg->err->format_message(jpeg, state.message.data());
    if (code == JWRN_JPEG_EOF || code == JERR_INPUT_EOF || code == JERR_INPUT_EMPTY) state.reason = "truncated";
    if (code == JERR_BAD_PRECISION || code == JERR_SOF_UNSUPPORTED || code == JERR_CONVERSION_NOTIMPL ||
        code == JERR_NOT_COMPILED)
      state.reason = "unsupported";
    if (code == JERR_IMAGE_TOO_BIG) state.reason = "too large";
    std::longjmp(state.jump, 1);
  }

  static void on_progress(j_common_ptr jpeg) {
    if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= max_jpeg_scans) return;
    auto& state = *static_cast<DecodeState*>(jpeg->client_data);
    state.reason = "unsupported";
    state.say("more scans than a decoder is willing to read");
    std::longjmp(state.jump, 1);
  }

  /// Warnings about lost pixels are errors, those about the rest (surplus bytes, odd versions of markers) are nothing.
  static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    switch (jpeg->err->msg_code) {
      case JWRN_JPEG_EOF: case JWRN_HIT_MARKER: case JWRN_HUFF_BAD_CODE: case JWRN_ARITH_BAD_CODE:
      case JWRN_MUST_RESYNC: case JWRN_BOGUS_PROGRESSION: on_error(jpeg);
      default: return;
    }
  }

  DecodeState state_;
  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
};

enum class Codec { png, jpeg };

/// By the first bytes.
inline Codec codec_of(std::span<const std::byte> bytes, const std::string& name) {
  constexpr std::array<unsigned char, 8> png{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  constexpr std::array<unsigned char, 3> jpeg{0xff, 0xd8, 0xff};
  const auto begins = [&](const auto& magic) {
    return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  };
  if (begins(png)) return Codec::png;
  if (begins(jpeg)) return Codec::jpeg;
  std::string found = bytes.empty() ? "an empty file" : "";
  for (const std::byte b : bytes.first(std::min<std::size_t>(bytes.size(), 8))) {
    found += "0123456789abcdef"[std::to_integer<int>(b) >> 4];
    found += "0123456789abcdef"[std::to_integer<int>(b) & 15];
  }
  throw ImageError(name, "not an image",
                   "first bytes: expected those of PNG (89504e470d0a1a0a) or JPEG (ffd8ff), found " + found);
}

[[noreturn]] inline void fail_decoding(const DecodeState& state, const std::string& name, const char* codec) {
  const std::string text = state.message[0] ? state.message.data() : "cannot start to decode";
  throw ImageError(name, state.reason, std::string(codec) + ": expected an intact image, found: " + text);
}

/// Reads the header of what `bytes` hold and hands the decoder to `use`. `whole`: no bytes follow in the file.
template <class Use>
auto with_decoder(std::span<const std::byte> bytes, const std::string& name, bool whole, Use use) {
  const auto run = [&](auto&& decoder, const char* codec) {
    if (!decoder.header()) fail_decoding(decoder.state(), name, codec);
    const ImageInfo info = decoder.state().info;
    check_image_size(name, static_cast<std::uint64_t>(info.height), static_cast<std::uint64_t>(info.width),
                     whole ? decoder.most_pixels() : ~std::uint64_t{0});
    return use(decoder, info, codec);
  };
  return codec_of(bytes, name) == Codec::png ? run(PngDecoder(bytes), "PNG") : run(JpegDecoder(bytes), "JPEG");
}

}  // namespace detail

/// Decodes a PNG or JPEG; `name` stands in the errors. 16-bit samples are scaled to 8 bits, palettes become RGB,
/// transparency is dropped, CMYK is converted; colour profiles, gamma and EXIF orientation are ignored, as torchvision
/// does. Throws ImageError: other content, a truncated or corrupt file, more than `max_image_side`. Thread-safe.
inline Image decode_image(std::span<const std::byte> bytes, const std::string& name) {
  return detail::with_decoder(bytes, name, true, [&](auto& decoder, const ImageInfo& info, const char* codec) {
    Image image{info.height, info.width, info.channels, {}};
    image.pixels.resize(static_cast<std::size_t>(info.height) * static_cast<std::size_t>(info.width) *
                        static_cast<std::size_t>(info.channels));
    std::vector<std::uint8_t> scratch(decoder.scratch_size());
    if (!decoder.pixels(image.pixels.data(), scratch.empty() ? nullptr : scratch.data()))
      detail::fail_decoding(decoder.state(), name, codec);
    return image;
  });
}

/// Decodes a file. Throws FileError where it cannot be read, ImageError otherwise.
inline Image decode_image(const std::string& path) { return decode_image(read_file(path), path); }

/// Size and kind of the image that `bytes` begin with; its pixels need not be there.
inline ImageInfo image_info(std::span<const std::byte> bytes, const std::string& name) {
  return detail::with_decoder(bytes, name, false, [](auto&, const ImageInfo& info, const char*) { return info; });
}

/// Size and kind of the image in a file; only its beginning is read where that is enough.
inline ImageInfo image_info(const std::string& path) {
  constexpr std::size_t beginning = 1 << 16;
  InputFile in(path);
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), beginning)));
  in.read(bytes);
  try {
    return image_info(bytes, path);
  } catch (const ImageError& error) {  // tables and comments before the size may be long
    if (in.size() <= beginning || error.reason != "truncated") throw;
  }
  return image_info(read_file(path), path);
}

}  // namespace data2vec::inline v0
