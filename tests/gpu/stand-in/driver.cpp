// The driver's library, as far as candle calls it: memory of the processor in place of a device's, and kernels
// that run one block after the other. Everything is done when a call returns, so streams and events have nothing to wait for.
//
// Faults by request, from the environment:
//   STAND_IN_DEVICES   how many devices there are (1)
//   STAND_IN_MEMORY    bytes that the device has (1 TiB)
//   STAND_IN_ERROR     the error that cuInit answers: 100 no device, 803 a driver that does not fit
//   STAND_IN_REPORT    a file for what was counted: launches, copies each way, the most memory held
#include "include/threads.h"

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <unordered_map>
#include <vector>

Extent threadIdx, blockIdx, blockDim, gridDim;

namespace {

enum Answer { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, NOT_FOUND = 500, NOT_SUPPORTED = 801 };

// What a block may share without asking for more, and the threads it may have, as on every device since 2010.
constexpr size_t SHARED = 48 * 1024;
constexpr unsigned THREADS = 1024;

[[noreturn]] void end(const std::string &what) {
    fprintf(stderr, "stand-in: %s\n", what.c_str());
    abort();
}

size_t setting(const char *name, size_t otherwise) {
    const char *found = getenv(name);
    return found == nullptr ? otherwise : strtoull(found, nullptr, 10);
}

// ---- What is counted --------------------------------------------------------------------------------------------------------

struct Counts {
    std::atomic<size_t> launches{0}, to_device{0}, to_device_bytes{0}, to_host{0}, to_host_bytes{0}, on_device{0};
    std::atomic<size_t> held{0}, most{0};
    ~Counts() {
        const char *path = getenv("STAND_IN_REPORT");
        FILE *file = path == nullptr ? nullptr : fopen(path, "w");
        if (file == nullptr) return;
        fprintf(file, "launches %zu\nto_device %zu\nto_device_bytes %zu\nto_host %zu\nto_host_bytes %zu\non_device %zu\nmost_memory %zu\n",
                launches.load(), to_device.load(), to_device_bytes.load(), to_host.load(), to_host_bytes.load(), on_device.load(),
                most.load());
        fclose(file);
    }
} counts;

std::mutex memory_lock;
std::unordered_map<size_t, size_t> &blocks() {
    static auto *found = new std::unordered_map<size_t, size_t>;
    return *found;
}

// ---- Threads of a block -----------------------------------------------------------------------------------------------------

constexpr size_t STACK = 256 * 1024;

enum class State { Ready, AtBarrier, AtShuffle, Ended };
struct Fiber {
    void *sp = nullptr;
    State state = State::Ended;
    Extent index;
    // Two slots by turns: a lane may give its next value before its neighbours took the last one.
    char given[2][16];
    unsigned turn = 0;
};
// A thread that never waits leaves its stack to the next one.
unsigned stacks_in_use = 0;

Fiber fibers[THREADS];
char *stacks = nullptr;
void *scheduler = nullptr;
unsigned current = 0;
Run running = nullptr;
void **arguments = nullptr;

extern "C" void switch_to(void **from, void *to);
asm(R"(
.globl switch_to
.hidden switch_to
switch_to:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

void leave(State state) {
    Fiber &here = fibers[current];
    here.state = state;
    switch_to(&here.sp, scheduler);
}

void body() {
    running(arguments);
    leave(State::Ended);
    end("a thread that had ended was run again");
}

void begin(unsigned thread) {
    // As `switch_to` left it: six registers, and the address to return to; the stack is aligned as after a call.
    void **top = reinterpret_cast<void **>(stacks + (stacks_in_use + 1) * STACK) - 1;
    *--top = reinterpret_cast<void *>(body);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    fibers[thread].sp = top;
    fibers[thread].state = State::Ready;
    fibers[thread].turn = 0;
}

void resume(unsigned thread) {
    current = thread;
    threadIdx = fibers[thread].index;
    switch_to(&scheduler, fibers[thread].sp);
}

void run_block(unsigned threads) {
    stacks_in_use = 0;
    for (unsigned i = 0; i < threads; ++i) {
        fibers[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
        begin(i);
        resume(i);
        if (fibers[i].state != State::Ended) stacks_in_use += 1;
    }
    if (stacks_in_use == 0) return;
    for (;;) {
        bool live = false, moved = false, all_at_barrier = true;
        for (unsigned warp = 0; warp < threads; warp += 32) {
            unsigned stop = std::min(warp + 32, threads);
            bool all_at_shuffle = true, any = false;
            for (unsigned i = warp; i < stop; ++i) {
                any |= fibers[i].state != State::Ended;
                all_at_shuffle &= fibers[i].state == State::Ended || fibers[i].state == State::AtShuffle;
                all_at_barrier &= fibers[i].state == State::Ended || fibers[i].state == State::AtBarrier;
            }
            live |= any;
            if (!any || !all_at_shuffle) continue;
            moved = true;
            for (unsigned i = warp; i < stop; ++i)
                if (fibers[i].state == State::AtShuffle) fibers[i].state = State::Ready;
            for (unsigned i = warp; i < stop; ++i)
                if (fibers[i].state == State::Ready) resume(i);
        }
        if (!live) return;
        if (moved) continue;
        if (!all_at_barrier) end("threads of a block wait for each other at different places");
        for (unsigned i = 0; i < threads; ++i)
            if (fibers[i].state == State::AtBarrier) fibers[i].state = State::Ready;
        for (unsigned i = 0; i < threads; ++i)
            if (fibers[i].state == State::Ready) resume(i);
    }
}

std::map<std::string, Run> &kernels() {
    static auto *found = new std::map<std::string, Run>;
    return *found;
}

std::mutex launching;

int launch(const std::string &name, Run run, Extent grid, Extent block, size_t shared, void **given) {
    size_t threads = size_t(block.x) * block.y * block.z;
    if (threads == 0 || threads > THREADS || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || shared > SHARED) {
        fprintf(stderr, "stand-in: %s is launched with %zu threads, %u x %u x %u blocks and %zu shared bytes\n", name.c_str(), threads, grid.x,
                grid.y, grid.z, shared);
        return INVALID_VALUE;
    }
    std::lock_guard<std::mutex> guard(launching);
    if (stacks == nullptr) {
        void *found = mmap(nullptr, STACK * THREADS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (found == MAP_FAILED) end("no memory for the threads' stacks");
        stacks = static_cast<char *>(found);
    }
    counts.launches += 1;
    gridDim = grid;
    blockDim = block;
    running = run;
    arguments = given;
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = {x, y, z};
                run_block(unsigned(threads));
            }
    return OK;
}

int take(size_t *at, size_t bytes) {
    std::lock_guard<std::mutex> guard(memory_lock);
    static const size_t limit = setting("STAND_IN_MEMORY", size_t(1) << 40);
    if (counts.held + bytes > limit) return OUT_OF_MEMORY;
    void *found = nullptr;
    if (posix_memalign(&found, 256, std::max(bytes, size_t(1))) != 0) return OUT_OF_MEMORY;
    // What nobody wrote is no number: a kernel that reads it is seen.
    memset(found, 0xff, bytes);
    blocks()[size_t(found)] = bytes;
    counts.held += bytes;
    if (counts.held > counts.most) counts.most = counts.held.load();
    *at = size_t(found);
    return OK;
}

int give(size_t at) {
    std::lock_guard<std::mutex> guard(memory_lock);
    auto found = blocks().find(at);
    if (found == blocks().end()) return INVALID_VALUE;
    counts.held -= found->second;
    free(reinterpret_cast<void *>(at));
    blocks().erase(found);
    return OK;
}

int to_device(size_t at, const void *from, size_t bytes) {
    counts.to_device += 1;
    counts.to_device_bytes += bytes;
    memcpy(reinterpret_cast<void *>(at), from, bytes);
    return OK;
}

int to_host(void *at, size_t from, size_t bytes) {
    counts.to_host += 1;
    counts.to_host_bytes += bytes;
    memcpy(at, reinterpret_cast<void *>(from), bytes);
    return OK;
}

struct Refusal {
    int error;
    const char *name, *text;
};
constexpr Refusal REFUSALS[] = {
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};
// What an error is called; the last one for all that have no name here.
const Refusal &refusal(int error) {
    const Refusal *found = REFUSALS;
    while (found->error != error && found->error != NOT_SUPPORTED) ++found;
    return *found;
}

int devices() { return int(setting("STAND_IN_DEVICES", 1)); }
int dummy;

} // namespace

void wait_for_block() { leave(State::AtBarrier); }
unsigned lane_here() { return current % 32; }
void shuffle(const void *mine, void *theirs, size_t bytes, unsigned lane) {
    if (bytes > sizeof fibers[0].given[0]) end("a shuffle of more than 16 bytes");
    Fiber &here = fibers[current];
    unsigned turn = here.turn++ & 1;
    memcpy(here.given[turn], mine, bytes);
    leave(State::AtShuffle);
    const Fiber &other = fibers[current / 32 * 32 + lane];
    memcpy(theirs, other.given[turn], bytes);
}

unsigned ballot(bool holds) {
    Fiber &here = fibers[current];
    unsigned turn = here.turn++ & 1, all = 0;
    here.given[turn][0] = char(holds);
    leave(State::AtShuffle);
    for (unsigned lane = 0; lane < 32; ++lane) all |= unsigned(fibers[current / 32 * 32 + lane].given[turn][0] != 0) << lane;
    return all;
}

Kernel::Kernel(const char *name, Run run) { kernels()[name] = run; }

extern "C" {
// The memory that a launch asks for, under the names that candle's kernels and ours give it.
alignas(256) char dst_row[SHARED];
alignas(256) char launched_with[SHARED];

int cuInit(unsigned) { return int(setting("STAND_IN_ERROR", devices() == 0 ? NO_DEVICE : OK)); }
int cuDeviceGetCount(int *count) { *count = devices(); return OK; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < devices() ? OK : INVALID_DEVICE; }
int cuDeviceGetAttribute(int *value, int attribute, int) {
    // Compute capability 9.0, pools of memory, blocks of 1,024; what else is asked for is 1.
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 1 ? 1024 : attribute == 16 ? 132 : attribute == 8 ? int(SHARED) : 1;
    return OK;
}
int cuDeviceGetName(char *name, int size, int) { snprintf(name, size_t(size), "stand-in"); return OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { *bytes = setting("STAND_IN_MEMORY", size_t(1) << 40); return OK; }
int cuMemGetInfo_v2(size_t *unused, size_t *all) {
    cuDeviceTotalMem_v2(all, 0);
    *unused = *all - counts.held;
    return OK;
}
int cuDeviceGetDefaultMemPool(void **pool, int) { *pool = &dummy; return OK; }
int cuMemPoolGetAttribute(void *, int, void *value) {
    // Nothing is kept: of what can be asked for (most bytes used, 8; used and reserved, 7 and 5) all is what is held now.
    *static_cast<size_t *>(value) = counts.held;
    return OK;
}
int cuMemPoolSetAttribute(void *, int, void *) { return OK; }
int cuDevicePrimaryCtxRetain(void **context, int) { *context = &dummy; return OK; }
int cuDevicePrimaryCtxRelease_v2(int) { return OK; }
int cuCtxSetCurrent(void *) { return OK; }
int cuCtxGetCurrent(void **context) { *context = &dummy; return OK; }
int cuCtxSynchronize() { return OK; }
int cuCtxDestroy_v2(void *) { return OK; }
int cuStreamCreate(void **stream, unsigned) { *stream = &dummy; return OK; }
int cuStreamDestroy_v2(void *) { return OK; }
int cuStreamSynchronize(void *) { return OK; }
int cuStreamWaitEvent(void *, void *, unsigned) { return OK; }
int cuStreamIsCapturing(void *, int *status) { *status = 0; return OK; }
int cuEventCreate(void **event, unsigned) { *event = &dummy; return OK; }
int cuEventRecord(void *, void *) { return OK; }
int cuEventSynchronize(void *) { return OK; }
int cuEventQuery(void *) { return OK; }
int cuEventDestroy_v2(void *) { return OK; }

// Pools give blocks of no bytes; what older devices have does not.
int cuMemAlloc_v2(size_t *at, size_t bytes) { return bytes == 0 ? INVALID_VALUE : take(at, bytes); }
int cuMemAllocAsync(size_t *at, size_t bytes, void *) { return take(at, bytes); }
int cuMemFree_v2(size_t at) { return give(at); }
int cuMemFreeAsync(size_t at, void *) { return give(at); }
int cuMemsetD8_v2(size_t at, unsigned char value, size_t bytes) { memset(reinterpret_cast<void *>(at), value, bytes); return OK; }
int cuMemsetD8Async(size_t at, unsigned char value, size_t bytes, void *) { return cuMemsetD8_v2(at, value, bytes); }
int cuMemcpyHtoD_v2(size_t at, const void *from, size_t bytes) { return to_device(at, from, bytes); }
int cuMemcpyHtoDAsync_v2(size_t at, const void *from, size_t bytes, void *) { return to_device(at, from, bytes); }
int cuMemcpyDtoH_v2(void *at, size_t from, size_t bytes) { return to_host(at, from, bytes); }
int cuMemcpyDtoHAsync_v2(void *at, size_t from, size_t bytes, void *) { return to_host(at, from, bytes); }
int cuMemcpyDtoDAsync_v2(size_t at, size_t from, size_t bytes, void *) {
    counts.on_device += 1;
    memcpy(reinterpret_cast<void *>(at), reinterpret_cast<void *>(from), bytes);
    return OK;
}
int cuMemcpyDtoD_v2(size_t at, size_t from, size_t bytes) { return cuMemcpyDtoDAsync_v2(at, from, bytes, nullptr); }

int cuModuleLoadData(void **module, const void *) { *module = &dummy; return OK; }
int cuModuleLoad(void **, const char *) { return NOT_SUPPORTED; }
int cuMemcpyPeerAsync(size_t, void *, size_t, void *, size_t, void *) { return NOT_SUPPORTED; }
int cuModuleUnload(void *) { return OK; }
int cuModuleGetFunction(void **function, void *, const char *name) {
    auto found = kernels().find(name);
    if (found == kernels().end()) {
        fprintf(stderr, "stand-in: no kernel is called %s\n", name);
        return NOT_FOUND;
    }
    *function = &*found;
    return OK;
}
int cuFuncSetAttribute(void *, int, int) { return OK; }
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *,
                   void **given, void **) {
    auto &kernel = *static_cast<std::pair<const std::string, Run> *>(function);
    return launch(kernel.first, kernel.second, {gx, gy, gz}, {bx, by, bz}, shared, given);
}
int cuGetErrorName(int error, const char **name) { *name = refusal(error).name; return OK; }
int cuGetErrorString(int error, const char **text) { *text = refusal(error).text; return OK; }
}
