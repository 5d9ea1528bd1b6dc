// SPDX-License-Identifier: MIT
// A device made of the host, for tests: the part of the CUDA runtime that the library uses, with kernels run by the
// host's compiler. Blocks run one after the other, the threads of a block as contexts that switch at barriers and warp
// operations; a barrier that not all threads reach ends the program, and shared memory starts as NaN. Captures record.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

using std::isfinite;
inline int min(int a, int b) { return a < b ? a : b; }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }

namespace host_device {

struct Thread {
  ucontext_t start;  // the first switch to it; later ones are jumps, which ask the system nothing
  jmp_buf place;
  std::unique_ptr<char[]> stack;
  dim3 index;
  enum { running, at_block, at_warp, done } state = running;
  bool started = false;
};

/// The threads of the block that is being run. They last, and take up one block after the other.
struct Block {
  static constexpr std::size_t stack = 64 * 1024;
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<std::uint64_t> exchange;  // a word per thread, for warp operations
  jmp_buf scheduler;
  std::function<void()> body;
  std::size_t current = 0, size = 0;
};
inline Block block;
inline long launches = 0;

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "host device: %s\n", what);
  std::abort();
}

inline void wait(decltype(Thread::state) state) {
  Thread& self = *block.threads[block.current];
  self.state = state;
  if (_setjmp(self.place) == 0) _longjmp(block.scheduler, 1);
}
inline void enter() {
  for (;;) {
    block.body();
    wait(Thread::done);
  }
}
/// Runs thread `i` until it waits or is done.
inline void resume(std::size_t i) {
  Thread& t = *block.threads[i];
  block.current = i;
  threadIdx = t.index;
  if (_setjmp(block.scheduler) != 0) return;
  if (t.started) _longjmp(t.place, 1);
  t.started = true;
  setcontext(&t.start);
}

inline void prepare(std::size_t n) {
  block.size = n;
  block.exchange.resize((n + 31) / 32 * 32);
  while (block.threads.size() < n) {
    auto& t = *block.threads.emplace_back(std::make_unique<Thread>());
    t.stack = std::make_unique<char[]>(Block::stack);
    getcontext(&t.start);
    t.start.uc_stack.ss_sp = t.stack.get();
    t.start.uc_stack.ss_size = Block::stack;
    t.start.uc_link = nullptr;
    makecontext(&t.start, enter, 0);
  }
}

inline void run_block() {
  const std::size_t n = block.size;
  const auto state = [](std::size_t i) -> auto& { return block.threads[i]->state; };
  for (std::size_t i = 0; i < n; ++i) state(i) = Thread::running;
  for (std::size_t finished = 0; finished < n;) {
    bool moved = false, released = false;
    for (std::size_t i = 0; i < n; ++i)
      if (state(i) == Thread::running) resume(i), moved = true;
    std::size_t waiting = 0;
    finished = 0;
    for (std::size_t i = 0; i < n; ++i) waiting += state(i) == Thread::at_block, finished += state(i) == Thread::done;
    for (std::size_t first = 0; first < n; first += 32) {
      const std::size_t end = first + 32 < n ? first + 32 : n;
      std::size_t together = 0;
      for (std::size_t i = first; i < end; ++i) together += state(i) == Thread::at_warp;
      if (together < end - first) continue;
      for (std::size_t i = first; i < end; ++i) state(i) = Thread::running;
      released = true;
    }
    if (waiting > 0 && waiting + finished == n) {
      if (finished > 0) fail("threads have ended before a barrier of their block");
      for (std::size_t i = 0; i < n; ++i) state(i) = Thread::running;
      released = true;
    }
    if (!moved && !released && finished < n) fail("threads wait at different barriers");
  }
}

}  // namespace host_device

inline void __syncthreads() { host_device::wait(host_device::Thread::at_block); }
inline void __syncwarp() { host_device::wait(host_device::Thread::at_warp); }
template <class A>
A __shfl_xor_sync(unsigned, A x, int offset) {
  static_assert(sizeof(A) <= 8);
  auto& words = host_device::block.exchange;
  const std::size_t self = host_device::block.current;
  std::memcpy(&words[self], &x, sizeof x);
  __syncwarp();
  std::memcpy(&x, &words[self ^ static_cast<std::size_t>(offset)], sizeof x);
  __syncwarp();
  return x;
}

template <class A>
A __shfl_sync(unsigned, A x, int lane) {
  static_assert(sizeof(A) <= 8);
  auto& words = host_device::block.exchange;
  const std::size_t self = host_device::block.current;
  std::memcpy(&words[self], &x, sizeof x);
  __syncwarp();
  std::memcpy(&x, &words[self / 32 * 32 + static_cast<std::size_t>(lane)], sizeof x);
  __syncwarp();
  return x;
}

namespace host_device {

/// What ldmatrix.x4 does.
template <class Half>
void load_matrices(bool transposed, const Half* row, std::uint32_t (&x)[4]) {
  const int lane = static_cast<int>(block.current % 32), g = lane / 4, t = lane % 4 * 2;
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) fail("ldmatrix: an address is not aligned to 16 bytes");
  auto& words = block.exchange;
  words[block.current] = reinterpret_cast<std::uintptr_t>(row);
  __syncwarp();
  const std::size_t warp = block.current / 32 * 32;
  for (int m = 0; m < 4; ++m) {
    Half pair[2];
    for (int k = 0; k < 2; ++k) {
      const int r = transposed ? t + k : g, c = transposed ? g : t + k;
      pair[k] = reinterpret_cast<const Half*>(words[warp + static_cast<std::size_t>(8 * m + r)])[c];
    }
    std::memcpy(&x[m], pair, sizeof x[m]);
  }
  __syncwarp();
}

inline float half_of(std::uint32_t word, int which) {
  const std::uint32_t bits = which ? word & 0xFFFF0000u : word << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// What mma.m16n8k16 does: every lane lays down its parts of both factors, then takes the sums that are its own.
inline void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  static std::vector<std::array<std::uint32_t, 6>> parts;
  const std::size_t self = block.current, warp = self / 32 * 32;
  if (parts.size() < block.exchange.size()) parts.resize(block.exchange.size());
  parts[self] = {a[0], a[1], a[2], a[3], b0, b1};
  __syncwarp();
  const int lane = static_cast<int>(self % 32), g = lane / 4, t = lane % 4 * 2;
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < 16; ++k) {
      const int column = t + i % 2, word = k / 8, holder = k % 8 / 2;
      const auto& row = parts[warp + static_cast<std::size_t>(g * 4 + holder)];
      const auto& other = parts[warp + static_cast<std::size_t>(column * 4 + holder)];
      c[i] += half_of(row[static_cast<std::size_t>(2 * word + i / 2)], k % 2) *
              half_of(other[static_cast<std::size_t>(4 + word)], k % 2);
    }
  __syncwarp();
}

}  // namespace host_device

// Dynamic shared memory: kernels declare `extern __shared__ float4 shared[]` in their namespace.
namespace data2vec::inline v0::detail::gpu {
inline constexpr std::size_t shared_elements = 227 * 1024 / 16;
extern float4 shared[];
}  // namespace data2vec::inline v0::detail::gpu

// --- the runtime -------------------------------------------------------------------------------------------------
enum cudaError_t {
  cudaSuccess,
  cudaErrorMemoryAllocation,
  cudaErrorInsufficientDriver,
  cudaErrorNoKernelImageForDevice,
  cudaErrorInvalidValue,
};
enum cudaMemcpyKind { cudaMemcpyDefault };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDataType_t { CUDA_R_32F, CUDA_R_16BF };
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaHostAllocMapped = 1, cudaHostAllocPortable = 2,
                          cudaEventDisableTiming = 2;
using Work = std::vector<std::function<void()>>;
struct HostStream {
  bool capturing = false;
  Work work;
};
using cudaStream_t = HostStream*;
using cudaGraph_t = Work*;
using cudaGraphExec_t = Work*;
using cudaGraphNode_t = void*;
struct HostEvent {};
using cudaEvent_t = HostEvent*;
struct cudaDeviceProp {
  char name[16];
  int major, minor, multiProcessorCount;
  std::size_t sharedMemPerBlockOptin;
};

namespace host_device {
inline std::size_t allocated = 0, allocations = 0, waits = 0, memory = std::size_t{8} << 30;
inline int devices = 1, major = 9;

template <class F>
cudaError_t put(cudaStream_t stream, F&& f) {
  if (stream && stream->capturing)
    stream->work.emplace_back(std::forward<F>(f));
  else
    f();
  return cudaSuccess;
}
}  // namespace host_device

inline const char* cudaGetErrorString(cudaError_t e) { return e == cudaSuccess ? "no error" : "an error"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaDriverGetVersion(int* v) { return *v = 12040, cudaSuccess; }
inline cudaError_t cudaRuntimeGetVersion(int* v) { return *v = 13000, cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* n) { return *n = host_device::devices, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {"host", host_device::major, 0, 4, 227 * 1024};
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = host_device::memory;
  *free = *total - host_device::allocated;
  return cudaSuccess;
}
inline cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  if (bytes > host_device::memory) return cudaErrorMemoryAllocation;
  ++host_device::allocations;
  *p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* p) { return std::free(p), cudaSuccess; }
inline cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned) { return cudaMalloc(p, bytes); }
inline cudaError_t cudaFreeHost(void* p) { return cudaFree(p); }
inline cudaError_t cudaMemset(void* p, int value, std::size_t n) { return std::memset(p, value, n), cudaSuccess; }
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t n, cudaMemcpyKind) {
  return std::memmove(to, from, n), cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* p, int value, std::size_t n, cudaStream_t s) {
  return host_device::put(s, [=] { std::memset(p, value, n); });
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t n, cudaMemcpyKind, cudaStream_t s) {
  return host_device::put(s, [=] { std::memmove(to, from, n); });
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return *s = new HostStream, cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  ++host_device::waits;
  return s && s->capturing ? cudaErrorInvalidValue : cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t s) { return delete s, cudaSuccess; }
inline cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
  *status = s->capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  s->capturing = true;
  s->work.clear();
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  s->capturing = false;
  *g = new Work(std::move(s->work));
  return cudaSuccess;
}
inline cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t*, std::size_t* n) {
  return *n = g->size(), cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned) {
  return *e = new Work(*g), cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t g) { return delete g, cudaSuccess; }
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) { return delete e, cudaSuccess; }
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t) {
  for (auto& work : *e) work();
  return cudaSuccess;
}
inline cudaError_t cudaEventCreate(cudaEvent_t* e) { return *e = new HostEvent, cudaSuccess; }
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return cudaEventCreate(e); }
inline cudaError_t cudaEventDestroy(cudaEvent_t e) { return delete e, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* t, cudaEvent_t, cudaEvent_t) { return *t = 1, cudaSuccess; }
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

template <class... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 threads, void** arguments, std::size_t shared,
                             cudaStream_t stream) {
  std::tuple<P...> values = [&]<std::size_t... i>(std::index_sequence<i...>) {
    return std::tuple<P...>(*static_cast<P*>(arguments[i])...);
  }
  (std::index_sequence_for<P...>());
  if (threads.x * threads.y * threads.z > 1024) return cudaErrorInvalidValue;
  return host_device::put(stream, [=] {
    using namespace host_device;
    ++launches;
    const std::size_t n = threads.x * threads.y * threads.z;
    prepare(n);
    for (unsigned i = 0; i < n; ++i)
      block.threads[i]->index = {i % threads.x, i / threads.x % threads.y, i / threads.x / threads.y};
    block.body = [&] { std::apply(kernel, values); };
    gridDim = grid, blockDim = threads;
    for (unsigned z = 0; z < grid.z; ++z)
      for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) {
          blockIdx = {x, y, z};
          auto* const words = reinterpret_cast<float*>(data2vec::detail::gpu::shared);
          for (std::size_t i = 0; i < shared / 4; ++i) words[i] = std::numeric_limits<float>::quiet_NaN();
          run_block();
        }
  });
}
