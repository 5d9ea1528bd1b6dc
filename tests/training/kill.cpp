// SPDX-License-Identifier: MIT
// A training that is killed without warning, again and again, loses no update that it had saved, and ends with the bits
// of one that was left alone.
#include <doctest/doctest.h>

#include <csignal>
#include <fstream>
#include <set>
#include <string>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/training/tiny_run.hpp"

using namespace tiny_run;
namespace fs = std::filesystem;

namespace {

constexpr int kills = 100;

/// Trains in a process of its own, which saves after every update and tells in `begun` which one it does.
pid_t start(const std::string& folder, std::int64_t updates, volatile std::int64_t* begun) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  int status = 1;
  try {
    ModelTrainer trainer(options());
    Source source{trainer};
    const auto next = [&] {
      *begun = trainer.updates();
      return source();
    };
    run_loop(trainer,
             {.out = folder, .updates = updates, .resume = fs::exists(folder + "/checkpoint.safetensors"),
              .save_every = 0, .monitor_every = 0},
             next, never);
    status = 0;
  } catch (...) {
  }
  ::_exit(status);
}

int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("killed at a hundred random moments, a training loses nothing and goes on bit for bit") {
  const Folder folder("kill");
  const std::string out = folder / "run", checkpoint = out + "/checkpoint.safetensors";
  void* const shared =
      ::mmap(nullptr, sizeof(std::int64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  volatile std::int64_t* const begun = static_cast<std::int64_t*>(shared);
  *begun = -1;

  ModelTrainer whole(options()), loaded(options());  // `whole` is never interrupted; it follows the other one
  int half_written = 0;
  for (int trial = 0; trial < kills; ++trial) {
    CAPTURE(trial);
    const pid_t child = start(out, 1'000'000, begun);
    Rng rng({.seed = 77, .sample = static_cast<std::uint32_t>(trial)});
    ::usleep(rng.below(40'000));  // the first update is some 10 ms behind the start: kills before, in and after it
    ::kill(child, SIGKILL);
    const int status = wait_for(child);
    REQUIRE(WIFSIGNALED(status));
    if (!fs::exists(checkpoint)) {
      CHECK(*begun <= 0);  // killed before the first update was saved
      continue;
    }
    load_checkpoint<Model>(checkpoint, loaded.state());
    // Update u begins when u updates are saved; at most its own save came to an end since.
    CHECK(loaded.updates() >= *begun);
    CHECK(loaded.updates() <= *begun + 1);
    train(whole, loaded.updates());
    CHECK(same_state(whole, loaded));
    for (const auto& entry : fs::directory_iterator(out))
      half_written += entry.path().filename().string().starts_with("checkpoint.safetensors.tmp");
  }
  CHECK(whole.updates() > 0);
  MESSAGE(whole.updates(), " updates, ", half_written, " of ", kills, " kills in the middle of a save");

  const std::int64_t end = whole.updates() + 3;
  REQUIRE(wait_for(start(out, end, begun)) == 0);
  load_checkpoint<Model>(checkpoint, loaded.state());
  train(whole, end);
  CHECK(same_state(whole, loaded));
  std::ifstream log(out + "/log.jsonl");
  std::int64_t lines = 0;
  for (std::string line; std::getline(log, line); ++lines) CHECK(parse_json(line, "log")["update"] == lines);
  CHECK(lines == end);
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(out)) files.insert(entry.path().filename().string());
  CHECK(files == std::set<std::string>{"checkpoint.safetensors", "lock", "log.jsonl"});  // nothing half-written is left
  ::munmap(shared, sizeof(std::int64_t));
}
