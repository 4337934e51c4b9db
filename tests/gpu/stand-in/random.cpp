// Random numbers under cuRAND's names, by another generator: nothing here depends on which they are.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>

namespace {
struct Generator {
    std::mt19937_64 bits{0};
    double uniform() { return (double(bits() >> 11) + 0.5) / 9007199254740992.0; }
};
Generator *of(void *handle) { return static_cast<Generator *>(handle); }
} // namespace

extern "C" {
int curandCreateGenerator(void **made, int) { *made = new Generator; return 0; }
int curandDestroyGenerator(void *handle) { delete of(handle); return 0; }
int curandSetPseudoRandomGeneratorSeed(void *handle, unsigned long long seed) { of(handle)->bits.seed(seed); return 0; }
int curandSetGeneratorOffset(void *handle, unsigned long long skipped) { of(handle)->bits.discard(skipped); return 0; }
int curandSetStream(void *, void *) { return 0; }
int curandGenerateUniform(void *handle, float *at, size_t count) {
    for (size_t i = 0; i < count; ++i) at[i] = float(of(handle)->uniform());
    return 0;
}
int curandGenerateUniformDouble(void *handle, double *at, size_t count) {
    for (size_t i = 0; i < count; ++i) at[i] = of(handle)->uniform();
    return 0;
}
int curandGenerateNormal(void *handle, float *at, size_t count, float mean, float deviation) {
    std::normal_distribution<double> normal(mean, deviation);
    for (size_t i = 0; i < count; ++i) at[i] = float(normal(of(handle)->bits));
    return 0;
}
int curandGenerateNormalDouble(void *handle, double *at, size_t count, double mean, double deviation) {
    std::normal_distribution<double> normal(mean, deviation);
    for (size_t i = 0; i < count; ++i) at[i] = normal(of(handle)->bits);
    return 0;
}
}
