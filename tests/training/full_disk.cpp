// SPDX-License-Identifier: MIT
// A disk without room: the last good checkpoint stays, what is said names file and bytes, and training ends as if
// nothing had been once there is room again.
#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/training/tiny_run.hpp"

using namespace tiny_run;
namespace fs = std::filesystem;

namespace {

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool write_text(const char* path, const std::string& text) {
  const int file = ::open(path, O_WRONLY);
  const bool written = file >= 0 && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (file >= 0) ::close(file);
  return written;
}

/// A disk of `size` bytes at `folder`, for this process alone: as root, or else in a user namespace of its own.
bool mount_small_disk(const std::string& folder, std::size_t size) {
  const std::string user = std::to_string(::getuid()), group = std::to_string(::getgid());
  if (::unshare(CLONE_NEWNS) != 0 &&
      (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !write_text("/proc/self/setgroups", "deny") ||
       !write_text("/proc/self/uid_map", "0 " + user + " 1") || !write_text("/proc/self/gid_map", "0 " + group + " 1")))
    return false;
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", folder.c_str(), "tmpfs", 0, ("size=" + std::to_string(size)).c_str()) == 0;
}

/// Takes all room but `left` bytes.
void fill(const std::string& folder, std::size_t left) {
  struct statvfs disk {};
  ::statvfs(folder.c_str(), &disk);
  const std::size_t room = disk.f_bavail * disk.f_bsize;
  std::ofstream(folder + "/filler", std::ios::binary) << std::string(room > left ? room - left : 0, 'x');
}

/// What must hold on the small disk, as sentences of what does not.
std::vector<std::string> failures_on(const std::string& disk) {
  std::vector<std::string> failures;
  const auto expect = [&](bool holds, const std::string& sentence) {
    if (!holds) failures.push_back(sentence);
  };
  const std::string out = disk + "/run", checkpoint = out + "/checkpoint.safetensors";
  std::vector<std::string> notes;
  const auto run = [&](ModelTrainer& trainer, std::int64_t updates, bool resume) {
    Source source{trainer};
    return error_of([&] {
      run_loop(trainer, {.out = out, .updates = updates, .resume = resume, .save_every = 0, .monitor_every = 0}, source,
               never, {.note = [&](const std::string& text) { notes.push_back(text); }});
    });
  };
  ModelTrainer whole(options()), loaded(options());
  {
    ModelTrainer trainer(options());
    const std::string text = run(trainer, 5, false);
    expect(text.empty() && notes.empty(), "with room: expected no word, found " + text);
  }
  const std::string good = bytes_of(checkpoint);
  const std::string needed = checkpoint + ": cannot write the new file (" + std::to_string(good.size()) +
                             " bytes needed): No space left on device";
  fill(disk, good.size() / 2);  // enough for the log
  {
    ModelTrainer trainer(options());
    const std::string text = run(trainer, 8, true);
    expect(text == needed, "at the end: expected \"" + needed + "\", found \"" + text + "\"");
    expect(notes.size() == 3, "expected a note for each of 3 updates, found " + std::to_string(notes.size()));
    for (const std::string& note : notes)
      expect(note == "checkpoint not written, training goes on: " + needed, "expected another note than " + note);
    expect(trainer.updates() == 8, "expected training to go on");
  }
  expect(bytes_of(checkpoint) == good, "expected the good checkpoint to stay");
  for (const auto& entry : fs::directory_iterator(out))
    expect(!has(entry.path().filename().string(), ".tmp"), "left behind: " + entry.path().filename().string());
  load_checkpoint<Model>(checkpoint, loaded.state());
  train(whole, 5);
  expect(same_state(whole, loaded), "expected the good checkpoint to hold 5 updates");

  fs::remove(disk + "/filler");
  fill(disk, 0);  // nor for the log
  {
    ModelTrainer trainer(options());
    const std::string text = run(trainer, 8, true);
    expect(has(text, out + "/log.jsonl: cannot "), "expected an error that names the log, found \"" + text + "\"");
    expect(has(text, "bytes needed") || has(text, "disk full"), "expected the reason, found \"" + text + "\"");
  }
  expect(bytes_of(checkpoint) == good, "expected the good checkpoint to stay without room for the log");

  fs::remove(disk + "/filler");
  {
    ModelTrainer trainer(options());
    const std::string text = run(trainer, 8, true);
    expect(text.empty(), "with room again: expected no error, found " + text);
    train(whole, 8);
    expect(same_state(whole, trainer), "expected the weights of a training without interruption");
  }
  load_checkpoint<Model>(checkpoint, loaded.state());
  expect(same_state(whole, loaded), "expected them in the checkpoint too");
  return failures;
}

}  // namespace

TEST_CASE("a small disk that fills up: the last good checkpoint stays and training goes on") {
  const Folder folder("full_disk");
  ModelTrainer trainer(options());
  save_checkpoint<Model>(folder / "size", trainer.state());
  const std::size_t size = 3 * fs::file_size(folder / "size");  // a checkpoint and its successor, not many more
  fs::create_directories(folder / "disk");
  const std::string report = folder / "report";
  { std::ofstream made(report); }
  const pid_t child = ::fork();
  if (child == 0) {  // the disk is seen by this process alone and goes with it
    int status = 77;
    if (mount_small_disk(folder / "disk", size)) {
      std::string failures;
      try {
        for (const std::string& failure : failures_on(folder / "disk")) failures += failure + "\n";
      } catch (const std::exception& error) {
        failures += error.what();
      }
      status = failures.empty() ? 0 : write_text(report.c_str(), failures) ? 1 : 2;
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    std::printf("SKIPPED: training/full_disk: mounting a small disk is not permitted here, not even in a namespace\n");
    return;
  }
  const std::string failures = bytes_of(report);
  CAPTURE(failures);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a device without room leaves the last good checkpoint") {
  const Folder folder("full_device");
  const std::string file = folder / "checkpoint.safetensors";
  ModelTrainer trainer(options());
  save_checkpoint<Model>(file, trainer.state());
  const std::string good = bytes_of(file);
  train(trainer, 2);
  const std::string text = error_of([&] { save_checkpoint<Model>("/dev/full", trainer.state()); });
  CHECK(has(text, "/dev/full: cannot write the new file (" + std::to_string(good.size()) + " bytes needed)"));
  const std::string missing = error_of([&] { save_checkpoint<Model>(folder / "no/such/file", trainer.state()); });
  CHECK(has(missing, "no/such/file"));
  CHECK(bytes_of(file) == good);
}
