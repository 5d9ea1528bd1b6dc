// SPDX-License-Identifier: MIT
// Manifests: fairseq's TSV, JSON lines and folders, with transcripts and labels; what is wrong is named with its line.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/data/manifest.hpp>

#include "tests/data/audio_files.hpp"

namespace d2v = data2vec;
using namespace audio_files;

namespace {

std::string problem(const std::string& file) {
  return error_of<d2v::FileError>([&] { d2v::open_manifest(file); });
}

}  // namespace

TEST_CASE("manifest: fairseq's TSV, with words or letters of the same name") {
  const Folder folder("manifest_tsv");
  const std::string tsv = folder.write("train.tsv", "/sounds\r\na/1.flac\t32000\r\nb 2.wav\t100\r\n");
  d2v::Manifest m = d2v::open_manifest(tsv);
  REQUIRE(m.entries.size() == 2);
  CHECK(m.root == "/sounds");
  CHECK(m.path(0) == "/sounds/a/1.flac");
  CHECK(m.entries[1].path == "b 2.wav");
  CHECK(m.entries[1].frames == 100);
  CHECK(m.entries[1].rate == 0);
  CHECK(m.entries[1].text_at.empty());
  folder.write("train.ltr", "H I | Y O U |\n|\n");
  m = d2v::open_manifest(tsv);
  CHECK(m.entries[0].text == "HI YOU");
  CHECK(m.entries[0].text_at == folder.file("train.ltr") + ":1");
  CHECK(m.entries[1].text == "");
  CHECK(m.entries[1].text_at == folder.file("train.ltr") + ":2");
  folder.write("train.wrd", "HELLO  THERE\nYOU");
  m = d2v::open_manifest(tsv);
  CHECK(m.entries[0].text == "HELLO THERE");
  CHECK(m.entries[1].text == "YOU");
  folder.write("train.wrd", "HELLO\n");
  CHECK(has(problem(tsv), "train.wrd: expected a transcript for each of the 2 recordings of "));
}

TEST_CASE("manifest: a relative root is one beside the file") {
  const Folder folder("manifest_root");
  CHECK(d2v::open_manifest(folder.write("x.tsv", "wavs\n1.wav\t5\n")).path(0) == folder.text() + "/wavs/1.wav");
}

TEST_CASE("manifest: an index says rates and sizes, and comes back as it was") {
  const Folder folder("manifest_index");
  d2v::Manifest m{"", folder.text(), {{.path = "a.wav", .frames = 7, .rate = 8000, .bytes = 58}, {.path = "b.wav"}}};
  d2v::write_tsv_manifest(folder.file("i.tsv"), m);
  const d2v::Manifest back = d2v::read_tsv_manifest(folder.file("i.tsv"));
  REQUIRE(back.entries.size() == 2);
  CHECK(back.path(0) == m.path(0));
  CHECK(back.entries[0].frames == 7);
  CHECK(back.entries[0].rate == 8000);
  CHECK(back.entries[0].bytes == 58);
  CHECK(back.entries[1].rate == 0);
  m.entries[0].path = "a\tb";
  CHECK_THROWS_AS(d2v::write_tsv_manifest(folder.file("i.tsv"), m), d2v::FileError);
}

TEST_CASE("manifest: wrong lines of a TSV") {
  const Folder folder("manifest_bad");
  CHECK(has(problem(folder.write("a.tsv", "/r\n1.wav\n")), "a.tsv:2: expected path<TAB>frames, found 1 fields"));
  CHECK(has(problem(folder.write("a.tsv", "/r\n1.wav\tmany\n")),
            "a.tsv:2: frames: expected a whole number, found 'many'"));
  CHECK(has(problem(folder.write("a.tsv", "/r\n\n1.wav\t-4\n")), "a.tsv:2: expected path<TAB>frames"));
  CHECK(has(problem(folder.write("a.tsv", "/r\n1.wav\t-4\n")), "found '-4'"));
  CHECK(has(problem(folder.write("a.tsv", "")), "a.tsv: expected recordings, found an empty file"));
  CHECK(has(problem(folder.file("none.tsv")), "expected a file, found none"));
}

TEST_CASE("manifest: JSON lines") {
  const Folder folder("manifest_json");
  const std::string file =
      folder.write("m.json",
                   "{\"path\": \"a.wav\", \"text\": \" two  words\", \"frames\": 12, \"rate\": 8000}\n\n"
                   "{\"audio_filepath\": \"/b.flac\", \"duration\": 1.5, \"label\": 3, \"text\": null}\n");
  const d2v::Manifest m = d2v::open_manifest(file);
  REQUIRE(m.entries.size() == 2);
  CHECK(m.path(0) == folder.text() + "/a.wav");
  CHECK(m.entries[0].text == "two words");
  CHECK(m.entries[0].text_at == file + ":1");
  CHECK(m.entries[0].frames == 12);
  CHECK(m.entries[0].rate == 8000);
  CHECK(m.path(1) == "/b.flac");
  CHECK(m.entries[1].label == "3");
  CHECK(m.entries[1].text_at.empty());
  CHECK(has(problem(folder.write("m.json", "{\"path\": \"a\"}\n{\"path\": 3}\n")),
            "m.json:2: path: expected a string, found number"));
  CHECK(has(problem(folder.write("m.json", "{\"text\": \"a\"}\n")),
            "m.json:1: expected a path of a recording, found none"));
  CHECK(has(problem(folder.write("m.json", "{\"path\": \"a\", \"frames\": 0}\n")),
            "frames: expected a whole number above 0, found 0"));
  CHECK(has(problem(folder.write("m.json", "{\"path\": \"a\"}\n{\"path\"\n")), "m.json:2: expected JSON"));
}

TEST_CASE("manifest: a folder by sorted path, transcripts beside or in LibriSpeech's files, labels by folder") {
  const Folder folder("manifest_folder");
  for (const char* name :
       {"z/3.WAV", "a/1/84-2.flac", "a/1/84-1.flac", "a/notes.txt", "5.ogg", ".hidden/6.wav", ".7.wav"})
    folder.write(name, "");
  folder.write("z/3.txt", "three\nwords here\n");
  folder.write("a/1/84.trans.txt", "84-1 GO ON\n84-2\n84-9 NOT THERE\n");
  const d2v::Manifest m = d2v::open_manifest(folder.text());
  REQUIRE(m.entries.size() == 4);
  const char* paths[] = {"5.ogg", "a/1/84-1.flac", "a/1/84-2.flac", "z/3.WAV"};
  for (std::size_t i = 0; i < 4; ++i) CHECK(m.entries[i].path == paths[i]);
  CHECK(m.entries[0].label == "");
  CHECK(m.entries[0].text_at == "");
  CHECK(m.entries[1].label == "a");
  CHECK(m.entries[1].text == "GO ON");
  CHECK(m.entries[1].text_at == folder.file("a/1/84.trans.txt") + ":1");
  CHECK(m.entries[2].text == "");
  CHECK(m.entries[2].text_at == folder.file("a/1/84.trans.txt") + ":2");
  CHECK(m.entries[3].text == "three words here");
  CHECK(has(problem(folder.file("empty/x").substr(0, folder.file("empty/x").size() - 2)),
            "expected recordings (*.wav, *.flac, *.ogg, *.mp3), found none"));
}
