// Vectors as wide as the machine's registers, through the compiler's own vector types: AVX-512, AVX, NEON or plain SSE.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t ivec __attribute__((vector_size(LANES * 4)));
typedef uint8_t bytes __attribute__((vector_size(LANES)));
typedef float loose_vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

INLINE vec load(const float* p) { return *(const loose_vec*)p; }
INLINE void store(float* p, vec v) { *(loose_vec*)p = v; }
INLINE vec splat(float x) { return x - vec{}; }  // x + 0 would not be x for -0, and cost an addition
INLINE vec larger(vec a, vec b) { return a > b ? a : b; }
INLINE vec smaller(vec a, vec b) { return a < b ? a : b; }

// The first `count` lanes; the others read as zero and are not written.
INLINE vec load_part(const float* p, int count) {
    if (count >= LANES) return load(p);
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
#else
    float lanes[LANES] = {};
    std::memcpy(lanes, p, count * sizeof(float));
    return load(lanes);
#endif
}
INLINE void store_part(float* p, vec v, int count) {
    if (count >= LANES) return store(p, v);
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
#else
    float lanes[LANES];
    store(lanes, v);
    std::memcpy(p, lanes, count * sizeof(float));
#endif
}

// Small whole numbers, a byte each in memory.
INLINE ivec load_bytes(const uint8_t* p, int count) {
    bytes b = {};
    std::memcpy(&b, p, count);
    return __builtin_convertvector(b, ivec);
}
INLINE void store_bytes(uint8_t* p, ivec v, int count) {
    const bytes b = __builtin_convertvector(v, bytes);
    if (count == LANES) std::memcpy(p, &b, LANES);
    else std::memcpy(p, &b, count);
}

// Memory that will soon be read, asked for a few lines at a time while something else is computed.
struct Ahead {
    const char *at = nullptr, *end = nullptr;
    int64_t lines = 0;  // a step
    Ahead() {}
    Ahead(const float* p, int64_t count, int64_t steps)
        : at((const char*)p), end((const char*)(p + count)), lines((count / 16 + steps) / steps) {}
    void step() {
        for (int64_t i = 0; i < lines && at < end; i++, at += 64) __builtin_prefetch(at, 0, 2);
    }
};

// Memory on its own cache lines, freed at the end of the block.
struct Aligned {
    float* data;
    explicit Aligned(size_t count) : data((float*)std::aligned_alloc(64, (count * sizeof(float) + 4159) / 64 * 64)) {}
    ~Aligned() { std::free(data); }
    Aligned(const Aligned&) = delete;
};

INLINE float sum_of(vec v) {
    float lanes[LANES], total = 0;
    store(lanes, v);
    for (int i = 0; i < LANES; i++) total += lanes[i];
    return total;
}

INLINE vec reciprocal(vec x) {
#if defined(__AVX512F__)
    vec y = (vec)_mm512_rcp14_ps((__m512)x);  // 14 bits, and one Newton step for the rest
    return y + y * (1.0f - x * y);
#else
    return 1.0f / x;
#endif
}

// exp by Taylor's series to the seventh power on [-ln 2 / 2, ln 2 / 2], and a shift of the exponent. A NaN stays one.
INLINE vec exponential(vec x) {
#if defined(__AVX512F__)
    x = (vec)_mm512_min_ps(_mm512_set1_ps(88.0f), _mm512_max_ps(_mm512_set1_ps(-87.0f), (__m512)x));
    const vec n = (vec)_mm512_roundscale_ps((__m512)(x * 1.44269504088896341f), 0);
#else
    x = x < -87.0f ? splat(-87.0f) : x;
    x = x > 88.0f ? splat(88.0f) : x;
    const vec magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
    const vec shifted = x * 1.44269504088896341f + magic, n = shifted - magic;
#endif
    const vec r = x - n * 0.693359375f + n * 2.12194440054690583e-4f;  // ln 2 in two parts
    vec p = splat(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
#if defined(__AVX512F__)
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    const ivec whole = (ivec)shifted - (ivec)magic;
    return p * (vec)((whole + 127) << 23);
#endif
}

INLINE vec sigmoid(vec x) { return reciprocal(1.0f + exponential(-x)); }

// tanh: near zero by its series, which keeps the relative error small, elsewhere by exp.
INLINE vec hyperbolic_tangent(vec x) {
    const vec far = 1.0f - 2.0f * reciprocal(1.0f + exponential(x + x));
    const vec s = x * x;
    vec p = splat(62.0f / 2835);
    p = p * s - 17.0f / 315;
    p = p * s + 2.0f / 15;
    p = p * s - 1.0f / 3;
    return s < 0.0625f ? x + x * s * p : far;
}

// bfloat16: numbers of 16 bits, the upper half of a float. Products of pairs of them are added up in float32, at twice the
// rate of products of floats, where the processor has an instruction for it.
#if defined(__AVX512BF16__)
#define HAS_SHORT 1
typedef uint16_t brief;
INLINE vec dot_pairs(vec sums, ivec a, ivec b) { return (vec)_mm512_dpbf16_ps((__m512)sums, (__m512bh)a, (__m512bh)b); }
INLINE void store_brief(brief* p, vec v) { _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh((__m512)v)); }
// Lane by lane a pair: `even` below, `odd` above.
INLINE ivec paired(vec even, vec odd) {
    static const uint16_t order[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
    return (ivec)_mm512_permutexvar_epi16(_mm512_loadu_si512(order), both);
}
INLINE ivec load_pairs(const brief* p) { return (ivec)_mm512_loadu_si512(p); }
INLINE void store_pairs(brief* p, ivec v) { _mm512_storeu_si512(p, (__m512i)v); }
INLINE ivec splat_pair(const brief* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof(pair));
    return (ivec)_mm512_set1_epi32(pair);
}
INLINE brief to_brief(float x) {
    brief lanes[LANES];
    store_brief(lanes, splat(x));
    return lanes[0];
}
INLINE float to_float(brief x) {
    const uint32_t bits = (uint32_t)x << 16;
    float y;
    std::memcpy(&y, &bits, sizeof(y));
    return y;
}
#else
#define HAS_SHORT 0
typedef uint16_t brief;
#endif

// Numbers of 16 bits in memory as floats in registers.
typedef uint16_t halves __attribute__((vector_size(LANES * 2)));
typedef uint32_t uvec __attribute__((vector_size(LANES * 4)));
INLINE vec load_part(const brief* p, int count) {
    halves h = {};
    if (count >= LANES) std::memcpy(&h, p, sizeof(h));
    else std::memcpy(&h, p, count * sizeof(brief));
    return (vec)(__builtin_convertvector(h, uvec) << 16);
}
INLINE void store_part(brief* p, vec v, int count) {
    const uvec bits = (uvec)v;
    uvec rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;  // to the nearest, from halfway to the even one
    rounded = (uvec)(v == v ? (ivec)rounded : ivec{} + 0x7fc0);
    const halves h = __builtin_convertvector(rounded, halves);
    if (count >= LANES) std::memcpy(p, &h, sizeof(h));
    else std::memcpy(p, &h, count * sizeof(brief));
}

// While one lives, this thread takes and gives zero for numbers below the normal range. Intel's processors need a hundred
// times as long for them, and gradients that vanish along a sequence are such numbers.
struct FlushDenormals {
#if defined(__SSE2__)
    unsigned before = _mm_getcsr();
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
#else
    FlushDenormals() {}
#endif
};
