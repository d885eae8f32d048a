// LSTM, GRU and SimpleRNN over whole sequences, forward and backward, in float32; where the processor can, products of
// bfloat16 on request: then inputs, outputs and gates are of 16 bits in memory, and everything else is float32.
//
// Rows of a batch do not depend on each other, so each thread takes some rows through all steps and never waits for
// another. The weights of input, state and bias are one matrix of K = F + U + 1 rows, cut into blocks of four vectors of
// columns; a block holds the four gates of LANES units (SimpleRNN: 4 * LANES units), so that what the gates need is in
// registers when a block's product is finished.
//
// Shapes: B batch, T steps, F features, U units, K = F + U + 1. The workspace is time-major: gates (T, B, blocks, 4,
// LANES), bfloat16 where products are; states (T, B, blocks * width).
#include <omp.h>

#include <algorithm>
#include <memory>
#include <type_traits>

#include "tiles.h"
#include "vector.h"

namespace {

#if defined(__AVX512F__)
constexpr int ROWS = 6;        // rows a product keeps in registers: 6 * 4 sums, 4 weights
constexpr int BACK_ROWS = 12;  // and backwards: 12 * 2 sums, 2 weights
#else
constexpr int ROWS = 2;
constexpr int BACK_ROWS = 4;
#endif
constexpr int BLOCK = 4 * LANES;  // columns of a block
constexpr int STEPS = 4;          // steps whose gradients are gathered before they meet the inputs

enum Kind { LSTM = 0, GRU = 1, TANH = 2, RELU = 3 };

struct Sizes {
    int64_t batch, steps, features, units;
    int kind;
    int width() const { return kind >= TANH ? BLOCK : LANES; }  // units of a block
    int64_t blocks() const { return (units + width() - 1) / width(); }
    int64_t padded() const { return blocks() * width(); }
    int64_t depth() const { return features + units + 1; }
    int64_t pairs() const { return (depth() + 31) / 32 * 16; }      // of rows, in whole tiles
    int64_t kept() const { return (depth() + 31) / 32 * 32; }       // rows of a gradient, likewise
    int gates() const { return kind == LSTM ? 4 : kind == GRU ? 3 : 1; }
};

// Where the weight of input row `k` and column `column` of the blocks comes from.
struct Weights {
    const float *kernel, *recurrent, *bias;  // bias may be null; of GRU (2, 3 * U)
    int64_t kernel_strides[2], recurrent_strides[2];
};

// One entry of the joint matrix. GRU's blocks are update, reset, candidate of the input, candidate of the state.
float entry(const Sizes& s, const Weights& w, int64_t k, int gate, int64_t unit) {
    if (unit >= s.units) return 0.0f;
    const int64_t row = k - s.features;
    int column = gate;
    bool input = true, state = true;
    if (s.kind == GRU && gate >= 2) {
        column = 2;
        (gate == 2 ? state : input) = false;
    }
    const int64_t c = column * s.units + unit;
    if (k < s.features) return input ? w.kernel[k * w.kernel_strides[0] + c * w.kernel_strides[1]] : 0.0f;
    if (row < s.units) return state ? w.recurrent[row * w.recurrent_strides[0] + c * w.recurrent_strides[1]] : 0.0f;
    if (!w.bias) return 0.0f;
    if (s.kind != GRU) return w.bias[c];
    return (input ? w.bias[c] : 0.0f) + (state ? w.bias[s.gates() * s.units + c] : 0.0f);
}

void where(const Sizes& s, int64_t block, int place, int* gate, int64_t* unit) {
    if (s.kind >= TANH) {
        *gate = 0;
        *unit = block * BLOCK + place;
    } else {
        *gate = place / LANES;
        *unit = block * LANES + place % LANES;
    }
}

// (blocks, K, 4 * LANES)
void pack(const Sizes& s, const Weights& w, float* packed) {
    for (int64_t b = 0; b < s.blocks(); b++)
        for (int64_t k = 0; k < s.depth(); k++)
            for (int j = 0; j < BLOCK; j++) {
                int gate;
                int64_t unit;
                where(s, b, j, &gate, &unit);
                packed[(b * s.depth() + k) * BLOCK + j] = entry(s, w, k, gate, unit);
            }
}

// The transpose of rows `first` to `first + count`: (column blocks of 2 * LANES, blocks, 4 * LANES, 2 * LANES)
void pack_back(const Sizes& s, const float* packed, int64_t first, int64_t count, float* turned) {
    constexpr int wide = 2 * LANES;
    for (int64_t n = 0; n < (count + wide - 1) / wide; n++)
        for (int64_t b = 0; b < s.blocks(); b++)
            for (int j = 0; j < BLOCK; j++)
                for (int l = 0; l < wide; l++) {
                    const int64_t k = n * wide + l;
                    turned[((n * s.blocks() + b) * BLOCK + j) * wide + l] =
                        k < count ? packed[(b * s.depth() + first + k) * BLOCK + j] : 0.0f;
                }
}

#if HAS_SHORT
// The packed weights (blocks, K, BLOCK) as pairs of rows: (blocks, pairs, BLOCK, 2); zeros behind the last row.
void pack_short(const float* packed, int64_t blocks, int64_t depth, int64_t pairs, int64_t columns, brief* shorts) {
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t k = 0; k < 2 * pairs; k += 2)
            for (int64_t j = 0; j < columns; j += LANES, shorts += 2 * LANES) {
                const float* even = packed + (b * depth + k) * columns + j;
                store_pairs(shorts, paired(k < depth ? load(even) : vec{}, k + 1 < depth ? load(even + columns) : vec{}));
            }
}

template <int R>
INLINE void product(const brief* inputs, int64_t stride, const brief* weights, int64_t depth, vec (&sums)[R][4]) {
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int g = 0; g < 4; g++) sums[r][g] = vec{};
    for (int64_t k = 0; k < depth; k += 2, weights += 2 * BLOCK) {
        ivec w[4];
        UNROLL for (int g = 0; g < 4; g++) w[g] = load_pairs(weights + g * 2 * LANES);
        UNROLL for (int r = 0; r < R; r++) {
            const ivec a = splat_pair(inputs + r * stride + k);
            UNROLL for (int g = 0; g < 4; g++) sums[r][g] = dot_pairs(sums[r][g], a, w[g]);
        }
    }
}

template <int R>
void product_back(const brief* gradients, int64_t block_stride, const brief* turned, int64_t blocks, float* result, int64_t stride) {
    vec sums[R][2];
    UNROLL for (int r = 0; r < R; r++) sums[r][0] = sums[r][1] = vec{};
    for (int64_t b = 0; b < blocks; b++)
        for (int j = 0; j < BLOCK; j += 2, turned += 4 * LANES) {
            const ivec w0 = load_pairs(turned), w1 = load_pairs(turned + 2 * LANES);
            UNROLL for (int r = 0; r < R; r++) {
                const ivec a = splat_pair(gradients + b * block_stride + r * BLOCK + j);
                sums[r][0] = dot_pairs(sums[r][0], a, w0);
                sums[r][1] = dot_pairs(sums[r][1], a, w1);
            }
        }
    UNROLL for (int r = 0; r < R; r++) store(result + r * stride, sums[r][0]), store(result + r * stride + LANES, sums[r][1]);
}

// inputs (pairs of rows, stride, 2), gradients (pairs of rows, BLOCK, 2)
template <int R>
void outer(const brief* inputs, int64_t stride, const brief* gradients, int64_t count, float* weights) {
    vec sums[R][4];
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int g = 0; g < 4; g++) sums[r][g] = load(weights + r * BLOCK + g * LANES);
    for (int64_t n = 0; n < count; n += 2, inputs += 2 * stride, gradients += 2 * BLOCK) {
        ivec d[4];
        UNROLL for (int g = 0; g < 4; g++) d[g] = load_pairs(gradients + g * 2 * LANES);
        UNROLL for (int r = 0; r < R; r++) {
            const ivec a = splat_pair(inputs + 2 * r);
            UNROLL for (int g = 0; g < 4; g++) sums[r][g] = dot_pairs(sums[r][g], a, d[g]);
        }
    }
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int g = 0; g < 4; g++) store(weights + r * BLOCK + g * LANES, sums[r][g]);
}
#endif

// sums[r] = inputs[r] @ block, one row of four vectors each
template <int R>
INLINE void product(const float* inputs, int64_t stride, const float* weights, int64_t depth, vec (&sums)[R][4]) {
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int g = 0; g < 4; g++) sums[r][g] = vec{};
    for (int64_t k = 0; k < depth; k++) {
        vec w[4];
        UNROLL for (int g = 0; g < 4; g++) w[g] = load(weights + k * BLOCK + g * LANES);
        UNROLL for (int r = 0; r < R; r++) {
            const vec a = splat(inputs[r * stride + k]);
            UNROLL for (int g = 0; g < 4; g++) sums[r][g] += a * w[g];
        }
    }
}

// Numbers of a row of a panel: K, rounded up to tiles, and room for the units behind the last.
INLINE int64_t line_of(const Sizes& s) { return 2 * s.pairs() + BLOCK; }

// What the gates make of their sums for the units of one block and row. `gates` and `state` are what is kept.
INLINE void keep(float* p, vec v) { store(p, v); }
INLINE vec kept(const float* p) { return load(p); }
#if HAS_SHORT
INLINE void keep(brief* p, vec v) { store_brief(p, v); }
INLINE vec kept(const brief* p) { return load_part(p, LANES); }
#endif

template <int KIND, typename Number>
INLINE void advance(const vec (&z)[4], const float* before, float* h, float* state, Number* gates) {
    if constexpr (KIND == LSTM) {
        const vec i = sigmoid(z[0]), f = sigmoid(z[1]), g = hyperbolic_tangent(z[2]), o = sigmoid(z[3]);
        const vec c = f * load(before) + i * g;
        store(state, c);
        store(h, o * hyperbolic_tangent(c));
        if (gates) keep(gates, i), keep(gates + LANES, f), keep(gates + 2 * LANES, g), keep(gates + 3 * LANES, o);
    } else if constexpr (KIND == GRU) {
        const vec u = sigmoid(z[0]), r = sigmoid(z[1]), n = hyperbolic_tangent(z[2] + r * z[3]);
        const vec new_h = n + u * (load(before) - n);
        store(state, new_h);
        store(h, new_h);
        if (gates) keep(gates, u), keep(gates + LANES, r), keep(gates + 2 * LANES, n), keep(gates + 3 * LANES, z[3]);
    } else {
        UNROLL for (int j = 0; j < 4; j++) {
            const vec y = KIND == TANH ? hyperbolic_tangent(z[j]) : (z[j] < 0.0f ? vec{} : z[j]);
            store(h + j * LANES, y);
            store(state + j * LANES, y);
        }
    }
}

struct Forward {
    Sizes s;
    const void* x;  // of the kind of number that products have, as y
    int64_t x_batch, x_step;
    const float *h0, *c0;
    const uint8_t* mask;
    void* y;  // (B, T, U), may be null
    float *h_last, *c_last;
    void* gates;                 // of the kind of number that products have
    float* states;               // may be null together
};

// Numbers into and out of the panels that products read.
INLINE void put(float* to, const float* from, int64_t count) { std::memcpy(to, from, count * sizeof(float)); }
INLINE void get(float* to, const float* from, int64_t count) { std::memcpy(to, from, count * sizeof(float)); }
#if HAS_SHORT
INLINE void put(brief* to, const float* from, int64_t count) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) store_brief(to + i, load(from + i));
    for (; i < count; i++) to[i] = to_brief(from[i]);
}
INLINE void get(float* to, const brief* from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = to_float(from[i]);
}
#endif

template <int KIND, int R, typename Number>
void rows_forward(const Forward& f, const Number* packed, int64_t size, const Number* inputs, Number* next,
                  const float* const* before, float* const* state, Number* const* gates) {
    const int64_t depth = f.s.depth(), width = f.s.width();
    for (int64_t b = 0; b < f.s.blocks(); b++) {
        vec z[R][4];
        product<R>(inputs, line_of(f.s), packed + b * size, depth, z);
        UNROLL for (int r = 0; r < R; r++) {
            alignas(64) float h[BLOCK];
            advance<KIND, Number>(z[r], before[r] + b * width, h, state[r] + b * width, gates[r] ? gates[r] + b * BLOCK : nullptr);
            // The columns behind the last unit meet the constant 1, which is written again afterwards.
            put(next + r * line_of(f.s) + f.s.features + b * width, h, width);
        }
    }
}

template <int KIND, typename Number>
void some_rows(int count, const Forward& f, const Number* packed, int64_t size, const Number* inputs, Number* next,
               const float* const* before, float* const* state, Number* const* gates) {
    switch (count) {
        case 1: return rows_forward<KIND, 1>(f, packed, size, inputs, next, before, state, gates);
        case 2: return rows_forward<KIND, 2>(f, packed, size, inputs, next, before, state, gates);
#if defined(__AVX512F__)
        case 3: return rows_forward<KIND, 3>(f, packed, size, inputs, next, before, state, gates);
        case 4: return rows_forward<KIND, 4>(f, packed, size, inputs, next, before, state, gates);
        case 5: return rows_forward<KIND, 5>(f, packed, size, inputs, next, before, state, gates);
        case 6: return rows_forward<KIND, 6>(f, packed, size, inputs, next, before, state, gates);
#endif
    }
}

#if HAS_TILES
// 32 rows through one step: the sums of a block by tiles, then its gates row by row. `z` has room for the sums.
template <int KIND>
void tiled_rows(int count, const Forward& f, const brief* packed, int64_t size, const brief* inputs, brief* next, float* z,
                const float* const* before, float* const* state, brief* const* gates) {
    const int64_t line = line_of(f.s), width = f.s.width();
    for (int64_t b = 0; b < f.s.blocks(); b++) {
        for (int g = 0; g < 4; g += 2) {
            tile_zeros();
            for (int64_t k = 0; k < f.s.pairs(); k += 16)
                tile_products(inputs + 2 * k, line, 16 * line, packed + b * size + k * 2 * BLOCK + g * 2 * LANES, 2 * BLOCK, 2 * LANES);
            tile_store(z + g * LANES, BLOCK, 16 * BLOCK);
        }
        for (int r = 0; r < count; r++) {
            alignas(64) float h[BLOCK];
            vec sums[4];
            UNROLL for (int g = 0; g < 4; g++) sums[g] = load(z + r * BLOCK + g * LANES);
            advance<KIND, brief>(sums, before[r] + b * width, h, state[r] + b * width, gates[r] ? gates[r] + b * BLOCK : nullptr);
            put(next + r * line + f.s.features + b * width, h, width);
        }
    }
}
#endif

// The rows `first` to `last` through all steps.
template <int KIND, typename Number>
void forward(const Forward& f, const Number* packed, int64_t size, int64_t first, int64_t last) {
    const FlushDenormals flush;
    const Sizes& s = f.s;
    const int64_t rows = last - first, depth = s.depth(), padded = s.padded(), line = line_of(s);
    const int64_t room_rows = (rows + 31) / 32 * 32;  // whole tiles
    Aligned room(2 * room_rows * line), own(3 * rows * padded);
    Number* panels = (Number*)room.data;
    std::fill_n(panels, 2 * room_rows * line, (Number)0);
    const float one = 1.0f;
    std::fill_n(own.data, 3 * rows * padded, 0.0f);
    float* memory[3] = {own.data, own.data + rows * padded, own.data + 2 * rows * padded};
    for (int64_t r = 0; r < rows; r++) {
        put(panels + r * line + s.features, f.h0 + (first + r) * s.units, s.units);
        std::memcpy(memory[2] + r * padded, (KIND == LSTM ? f.c0 : f.h0) + (first + r) * s.units, s.units * sizeof(float));
    }
    const int64_t groups = (rows + ROWS - 1) / ROWS;
#if HAS_TILES
    const bool tiled = !std::is_same<Number, float>::value && tiles_allowed();
    Aligned sums(32 * BLOCK);
    std::unique_ptr<Tiles> registers(tiled ? new Tiles : nullptr);
#endif
    for (int64_t t = 0; t < s.steps; t++) {
        Number *now = panels + (t % 2) * room_rows * line, *next = panels + ((t + 1) % 2) * room_rows * line;
        const auto before = [&](int64_t r) {
            return t == 0 ? memory[2] + r * padded
                   : f.states ? f.states + ((t - 1) * s.batch + first + r) * padded
                              : memory[(t + 1) % 2] + r * padded;
        };
        const auto after = [&](int64_t r) {
            return f.states ? f.states + (t * s.batch + first + r) * padded : memory[t % 2] + r * padded;
        };
        const auto gates_of = [&](int64_t r) { return f.gates ? (Number*)f.gates + (t * s.batch + first + r) * s.blocks() * BLOCK : nullptr; };
        for (int64_t r = 0; r < rows; r++) {
            std::memcpy(now + r * line, (const Number*)f.x + (first + r) * f.x_batch + t * f.x_step, s.features * sizeof(Number));
            put(now + r * line + depth - 1, &one, 1);
            if (2 * s.pairs() > depth) now[r * line + depth] = 0;  // what a pair may read
        }
#if HAS_TILES
        if constexpr (!std::is_same<Number, float>::value)
            if (tiled)
                for (int64_t begin = 0; begin < rows; begin += 32) {
                    const float* old[32];
                    float* state[32];
                    Number* gates[32];
                    const int count = (int)std::min<int64_t>(32, rows - begin);
                    for (int r = 0; r < count; r++)
                        old[r] = before(begin + r), state[r] = after(begin + r), gates[r] = gates_of(begin + r);
                    tiled_rows<KIND>(count, f, packed, size, now + begin * line, next + begin * line, sums.data, old, state, gates);
                }
        if (!tiled)
#endif
        for (int64_t g = 0; g < groups; g++) {
            const int64_t begin = g * rows / groups, end = (g + 1) * rows / groups;
            const float* old[ROWS];
            float* state[ROWS];
            Number* gates[ROWS];
            for (int64_t r = begin; r < end; r++)
                old[r - begin] = before(r), state[r - begin] = after(r), gates[r - begin] = gates_of(r);
            some_rows<KIND>(end - begin, f, packed, size, now + begin * line, next + begin * line, old, state, gates);
        }
        for (int64_t r = 0; r < rows; r++) {
            Number* h = next + r * line + s.features;
            if (f.mask && !f.mask[(first + r) * s.steps + t]) {  // nothing happened
                // With what is behind the last unit: of an input that is no number it would be none, and tiles read it.
                std::memcpy(h, now + r * line + s.features, padded * sizeof(Number));
                std::memcpy(after(r), before(r), padded * sizeof(float));
            }
            if (f.y) std::memcpy((Number*)f.y + ((first + r) * s.steps + t) * s.units, h, s.units * sizeof(Number));
            if (t + 1 == s.steps) {
                get(f.h_last + (first + r) * s.units, h, s.units);
                if (KIND == LSTM) std::memcpy(f.c_last + (first + r) * s.units, after(r), s.units * sizeof(float));
            }
        }
    }
}

struct Backward {
    Forward f;  // x, h0, c0, mask, gates, states; y holds the outputs, null where they follow from gates and states
    const void* dy;                  // like y; this and the next two may be null
    const float *dh_last, *dc_last;
    void* dx;                        // (B, T, F), like x, may be null
    float *dh0, *dc0;
};

// result[r] = gradients[r] @ turned, for the 2 * LANES columns of one block of rows of the joint matrix
template <int R>
void product_back(const float* gradients, int64_t block_stride, const float* turned, int64_t blocks, float* result,
                  int64_t stride) {
    vec sums[R][2];
    UNROLL for (int r = 0; r < R; r++) sums[r][0] = sums[r][1] = vec{};
    for (int64_t b = 0; b < blocks; b++)
        for (int j = 0; j < BLOCK; j++) {
            const float* w = turned + (b * BLOCK + j) * 2 * LANES;
            const vec w0 = load(w), w1 = load(w + LANES);
            UNROLL for (int r = 0; r < R; r++) {
                const vec a = splat(gradients[b * block_stride + r * BLOCK + j]);
                sums[r][0] += a * w0;
                sums[r][1] += a * w1;
            }
        }
    UNROLL for (int r = 0; r < R; r++) store(result + r * stride, sums[r][0]), store(result + r * stride + LANES, sums[r][1]);
}

template <typename Number>
void rows_back(int64_t count, const Number* gradients, int64_t block_stride, const Number* turned, int64_t blocks,
               int64_t columns, float* result, int64_t stride) {
    for (int64_t n = 0; n < columns; n++) {
        const Number* w = turned + n * blocks * BLOCK * 2 * LANES;
        int64_t r = 0;
        for (; r + BACK_ROWS <= count; r += BACK_ROWS)
            product_back<BACK_ROWS>(gradients + r * BLOCK, block_stride, w, blocks, result + r * stride + n * 2 * LANES, stride);
        for (; r + 4 <= count; r += 4)
            product_back<4>(gradients + r * BLOCK, block_stride, w, blocks, result + r * stride + n * 2 * LANES, stride);
        for (; r < count; r++)
            product_back<1>(gradients + r * BLOCK, block_stride, w, blocks, result + r * stride + n * 2 * LANES, stride);
    }
}

// weights[k] += sum over n of inputs[n][k] * gradients[n], for R rows of the joint matrix and one block of columns
template <int R>
void outer(const float* inputs, int64_t stride, const float* gradients, int64_t count, float* weights) {
    vec sums[R][4];
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int g = 0; g < 4; g++) sums[r][g] = load(weights + r * BLOCK + g * LANES);
    for (int64_t n = 0; n < count; n++) {
        vec d[4];
        UNROLL for (int g = 0; g < 4; g++) d[g] = load(gradients + n * BLOCK + g * LANES);
        UNROLL for (int r = 0; r < R; r++) {
            const vec a = splat(inputs[n * stride + r]);
            UNROLL for (int g = 0; g < 4; g++) sums[r][g] += a * d[g];
        }
    }
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int g = 0; g < 4; g++) store(weights + r * BLOCK + g * LANES, sums[r][g]);
}

// From the gradient of the outputs of a step to that of the sums of its gates, and what goes straight to the state before.
template <int KIND, typename Number>
INLINE void retreat(vec dh, float* carry, const Number* gates, const float* state, const float* before, const float* after_tanh,
                    float* dz, vec* direct) {
    if constexpr (KIND == LSTM) {
        const vec i = kept(gates), f = kept(gates + LANES), g = kept(gates + 2 * LANES), o = kept(gates + 3 * LANES);
        const vec tc = load(after_tanh);
        const vec dc = load(carry) + dh * o * (1.0f - tc * tc);
        store(dz, dc * g * i * (1.0f - i));
        store(dz + LANES, dc * load(before) * f * (1.0f - f));
        store(dz + 2 * LANES, dc * i * (1.0f - g * g));
        store(dz + 3 * LANES, dh * tc * o * (1.0f - o));
        store(carry, dc * f);
        *direct = vec{};
    } else if constexpr (KIND == GRU) {
        const vec u = kept(gates), r = kept(gates + LANES), n = kept(gates + 2 * LANES), s = kept(gates + 3 * LANES);
        const vec dn = dh * (1.0f - u) * (1.0f - n * n);
        store(dz, dh * (load(before) - n) * u * (1.0f - u));
        store(dz + LANES, dn * s * r * (1.0f - r));
        store(dz + 2 * LANES, dn);
        store(dz + 3 * LANES, dn * r);
        *direct = dh * u;
    } else {
        const vec y = load(state);
        store(dz, KIND == TANH ? dh * (1.0f - y * y) : (y > 0.0f ? dh : vec{}));
        *direct = vec{};
    }
}

#if HAS_TILES
// `rows_back` by tiles, through a result of whole tiles.
void tiled_back(int64_t count, const brief* gradients, int64_t block_stride, const brief* turned, int64_t blocks,
                int64_t columns, float* whole, int64_t stride, float* result) {
    for (int64_t n = 0; n < columns; n++)
        for (int64_t r = 0; r < count; r += 32) {
            tile_zeros();
            for (int64_t b = 0; b < blocks; b++)
                for (int j = 0; j < BLOCK; j += 32)
                    tile_products(gradients + b * block_stride + r * BLOCK + j, BLOCK, 16 * BLOCK,
                                  turned + ((n * blocks + b) * BLOCK + j) * 2 * LANES, 4 * LANES, 2 * LANES);
            tile_store(whole + r * stride + n * 2 * LANES, stride, 16 * stride);
        }
    std::memcpy(result, whole, count * stride * sizeof(float));
}

// The gradient of one block of the weights: inputs turned round (K, columns) by gradients (columns / 2, BLOCK, 2).
void tiled_outer(const brief* turned, int64_t columns, const brief* gradients, int64_t depth, float* weights) {
    for (int64_t k = 0; k < depth; k += 32)
        for (int g = 0; g < 4; g += 2) {
            float* sums = weights + k * BLOCK + g * LANES;
            tile_sums(sums, BLOCK, 16 * BLOCK);
            for (int64_t n = 0; n < columns; n += 32)
                tile_products(turned + k * columns + n, columns, 16 * columns, gradients + n * BLOCK + g * 2 * LANES, 2 * BLOCK, 2 * LANES);
            tile_store(sums, BLOCK, 16 * BLOCK);
        }
}
#endif

template <int KIND, typename Number>
void backward(const Backward& b, const Number* turned_x, const Number* turned_h, float* gradient, int64_t first, int64_t last) {
    const FlushDenormals flush;
    const Forward& f = b.f;
    const Sizes& s = f.s;
    constexpr int wide = 2 * LANES;
    const int64_t rows = last - first, depth = s.depth(), padded = s.padded(), blocks = s.blocks(), width = s.width();
    const int64_t columns_h = (s.units + wide - 1) / wide, columns_x = (s.features + wide - 1) / wide;
    const int64_t state_line = std::max(columns_h * wide, padded), x_line = columns_x * wide;
    constexpr bool is_short = !std::is_same<Number, float>::value;
    const int64_t chunk = (STEPS * rows + 1) / 2 * 2, line = depth + LANES;
    Aligned dz(blocks * chunk * BLOCK), inputs(chunk * line), dh(rows * state_line), direct(rows * padded);
    const int64_t whole = (rows + 31) / 32 * 32;  // rows in whole tiles
    Aligned shorts(is_short ? (blocks * chunk + whole) * BLOCK : 1), pairs(is_short ? chunk * line : 1);
#if HAS_TILES
    const bool tiled = is_short && tiles_allowed();
    const int64_t columns = (chunk + 31) / 32 * 32;  // of the inputs turned round
    Aligned turned(tiled ? s.kept() * columns / 2 + 1 : 1), wide_dh(tiled ? whole * state_line : 1), wide_dx(tiled ? whole * x_line + 1 : 1);
    std::unique_ptr<Tiles> registers(tiled ? new Tiles : nullptr);
    std::fill_n(shorts.data, is_short ? (blocks * chunk + whole) * BLOCK : 1, 0.0f);
    std::fill_n(wide_dh.data, tiled ? whole * state_line : 1, 0.0f);  // tiles may end before the state does
#endif
    Aligned carry(rows * padded), tanhs(2 * rows * padded), dx(rows * x_line + 1), start(rows * padded);
    std::fill_n(inputs.data, chunk * line, 0.0f);
    std::fill_n(dh.data, rows * state_line, 0.0f);
    std::fill_n(carry.data, rows * padded, 0.0f);
    std::fill_n(start.data, rows * padded, 0.0f);
    for (int64_t r = 0; r < rows; r++) {
        std::memcpy(start.data + r * padded, (KIND == LSTM ? f.c0 : f.h0) + (first + r) * s.units, s.units * sizeof(float));
        if (b.dh_last) std::memcpy(dh.data + r * state_line, b.dh_last + (first + r) * s.units, s.units * sizeof(float));
        if (b.dc_last) std::memcpy(carry.data + r * padded, b.dc_last + (first + r) * s.units, s.units * sizeof(float));
    }
    const auto state_at = [&](int64_t t, int64_t r) {
        return t < 0 ? start.data + r * padded : f.states + (t * s.batch + first + r) * padded;
    };
    const auto gates_at = [&](int64_t t, int64_t r) {
        return f.gates ? (const Number*)f.gates + (t * s.batch + first + r) * blocks * BLOCK : nullptr;
    };
    if (KIND == LSTM)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < padded; j += LANES)
                store(tanhs.data + r * padded + j, hyperbolic_tangent(load(state_at(s.steps - 1, r) + j)));
    int64_t filled = 0;  // rows of the chunk
    for (int64_t t = s.steps - 1; t >= 0; t--) {
        float* tanh_now = tanhs.data + ((s.steps - 1 - t) % 2) * rows * padded;
        float* tanh_before = tanhs.data + ((s.steps - t) % 2) * rows * padded;
        for (int64_t r = 0; r < rows; r++) {
            float* input = inputs.data + (filled + r) * line;
            const bool happened = !f.mask || f.mask[(first + r) * s.steps + t];
            if (happened) get(input, (const Number*)f.x + (first + r) * f.x_batch + t * f.x_step, s.features);
            else std::fill_n(input, s.features, 0.0f);  // it may hold anything, and has no part in the gradient
            const Number* dy = b.dy ? (const Number*)b.dy + ((first + r) * s.steps + t) * s.units : nullptr;
            const Number *gates = gates_at(t, r), *gates_before = t > 0 ? gates_at(t - 1, r) : nullptr;
            for (int64_t k = 0; k < blocks; k++)
                for (int64_t j = 0; j < width; j += LANES) {
                    const int64_t at = k * width + j;
                    const int valid = (int)std::min<int64_t>(LANES, s.units - at);
                    vec d = load(dh.data + r * state_line + at);
                    if (dy && valid > 0) d += load_part(dy + at, valid);
                    vec past = {};
                    if (KIND == LSTM) {  // the output before: from its gates and its carry
                        const vec tc = hyperbolic_tangent(load(state_at(t - 1, r) + at));
                        store(tanh_before + r * padded + at, tc);
                        if (t > 0 && !f.y) past = kept(gates_before + k * BLOCK + 3 * LANES) * tc;
                    } else {
                        past = load(state_at(t - 1, r) + at);
                    }
                    if (KIND == LSTM && valid > 0 && t == 0) past = load_part(f.h0 + (first + r) * s.units + at, valid);
                    if (KIND == LSTM && valid > 0 && t > 0 && f.y)
                        past = load_part((const Number*)f.y + ((first + r) * s.steps + t - 1) * s.units + at, valid);
                    if (valid > 0) store_part(input + s.features + at, past, valid);
                    float* z = dz.data + (k * chunk + filled + r) * BLOCK + j;
                    if (happened) {
                        vec rest;
                        retreat<KIND, Number>(d, carry.data + r * padded + at, gates ? gates + k * BLOCK : nullptr, state_at(t, r) + at,
                                      state_at(t - 1, r) + at, tanh_now + r * padded + at, z, &rest);
                        store(direct.data + r * padded + at, rest);
                    } else {
                        for (int g = 0; g < (KIND >= TANH ? 1 : 4); g++) store(z + g * LANES, vec{});
                        store(direct.data + r * padded + at, d);
                    }
                }
            input[depth - 1] = 1.0f;
        }
        const Number* now = (const Number*)dz.data + filled * BLOCK;
#if HAS_SHORT
        if constexpr (is_short) {
            for (int64_t k = 0; k < blocks; k++)
                put((brief*)shorts.data + k * chunk * BLOCK, dz.data + (k * chunk + filled) * BLOCK, rows * BLOCK);
            now = (const Number*)shorts.data;
        }
#endif
#if HAS_TILES
        if constexpr (is_short)
            if (tiled) tiled_back(rows, now, chunk * BLOCK, turned_h, blocks, columns_h, wide_dh.data, state_line, dh.data);
        if (!tiled)
#endif
        rows_back(rows, now, chunk * BLOCK, turned_h, blocks, columns_h, dh.data, state_line);
        if (KIND == GRU || f.mask)
            for (int64_t r = 0; r < rows; r++)
                for (int64_t j = 0; j < padded; j += LANES) {
                    float* d = dh.data + r * state_line + j;
                    store(d, load(d) + load(direct.data + r * padded + j));
                }
        if (b.dx) {
#if HAS_TILES
            if constexpr (is_short)
                if (tiled) tiled_back(rows, now, chunk * BLOCK, turned_x, blocks, columns_x, wide_dx.data, x_line, dx.data);
            if (!tiled)
#endif
            rows_back(rows, now, chunk * BLOCK, turned_x, blocks, columns_x, dx.data, x_line);
            for (int64_t r = 0; r < rows; r++)
                put((Number*)b.dx + ((first + r) * s.steps + t) * s.features, dx.data + r * x_line, s.features);
        }
        filled += rows;
        if (filled == STEPS * rows || t == 0) {
            const Number* all = (const Number*)inputs.data;
#if HAS_SHORT
            if constexpr (is_short) {
                if (filled % 2) {
                    std::fill_n(inputs.data + filled * line, line, 0.0f);
                    for (int64_t k = 0; k < blocks; k++) std::fill_n(dz.data + (k * chunk + filled) * BLOCK, BLOCK, 0.0f);
                }
                for (int64_t n = 0; n < filled; n += 2)
                    for (int64_t k = 0; k < depth; k += LANES) {
                        const float* even = inputs.data + n * line + k;
                        store_pairs((brief*)pairs.data + n * line + 2 * k, paired(load(even), load(even + line)));
                    }
                all = (const Number*)pairs.data;
#if HAS_TILES
                if (tiled) {
                    brief* to = (brief*)turned.data;
                    for (int64_t k = 0; k < depth; k++)
                        for (int64_t n = 0; n < columns; n++)
                            to[k * columns + n] = n < (filled + 1) / 2 * 2 ? ((const brief*)pairs.data)[n / 2 * 2 * line + 2 * k + n % 2] : 0;
                }
#endif
            }
#endif
            for (int64_t k = 0; k < blocks; k++) {
                const Number* d = (const Number*)dz.data + k * chunk * BLOCK;
#if HAS_SHORT
                if constexpr (is_short) {
                    for (int64_t n = 0; n < filled; n += 2)
                        for (int j = 0; j < BLOCK; j += LANES) {
                            const float* even = dz.data + (k * chunk + n) * BLOCK + j;
                            store_pairs((brief*)shorts.data + n * BLOCK + 2 * j, paired(load(even), load(even + BLOCK)));
                        }
                    d = (const Number*)shorts.data;
#if HAS_TILES
                    if (tiled) {
                        // Behind the last pair the inputs are zero, and what they meet must be a number.
                        std::fill_n((brief*)shorts.data + (filled + 1) / 2 * 2 * BLOCK, (columns - (filled + 1) / 2 * 2) * BLOCK, (brief)0);
                        tiled_outer((const brief*)turned.data, columns, (const brief*)shorts.data, depth, gradient + k * s.kept() * BLOCK);
                        continue;
                    }
#endif
                }
#endif
                float* w = gradient + k * s.kept() * BLOCK;
                const int64_t each = is_short ? 2 : 1;
                int64_t row = 0;
                for (; row + ROWS <= depth; row += ROWS) outer<ROWS>(all + row * each, line, d, filled, w + row * BLOCK);
                for (; row < depth; row++) outer<1>(all + row * each, line, d, filled, w + row * BLOCK);
            }
            filled = 0;
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        std::memcpy(b.dh0 + (first + r) * s.units, dh.data + r * state_line, s.units * sizeof(float));
        if (KIND == LSTM) std::memcpy(b.dc0 + (first + r) * s.units, carry.data + r * padded, s.units * sizeof(float));
    }
}

template <typename F>
void over_kinds(int kind, F f) {
    switch (kind) {
        case LSTM: return f(std::integral_constant<int, LSTM>());
        case GRU: return f(std::integral_constant<int, GRU>());
        case TANH: return f(std::integral_constant<int, TANH>());
        default: return f(std::integral_constant<int, RELU>());
    }
}

}  // namespace

extern "C" {

// Whether products of bfloat16 can be had, and are faster: on Intel's processors only in tiles.
int lamina_recurrence_short() {
#if HAS_SHORT
    return tiles_allowed() || !__builtin_cpu_is("intel");
#else
    return 0;
#endif
}

// How many floats the workspace has for the gates and for the states.
void lamina_recurrence_sizes(int kind, int64_t batch, int64_t steps, int64_t units, int64_t* gates, int64_t* states) {
    const Sizes s = {batch, steps, 0, units, kind};
    *gates = kind >= TANH ? 0 : steps * batch * s.blocks() * BLOCK;
    *states = steps * batch * s.padded();
}

void lamina_recurrence_forward(int kind, int64_t batch, int64_t steps, int64_t features, int64_t units, int threads, int short_products,
                               const void* x, int64_t x_batch, int64_t x_step, const float* h0, const float* c0,
                               const uint8_t* mask, const float* kernel, int64_t kernel_row, int64_t kernel_column,
                               const float* recurrent, int64_t recurrent_row, int64_t recurrent_column, const float* bias,
                               void* y, float* h_last, float* c_last, void* gates, float* states) {
    const Sizes s = {batch, steps, features, units, kind};
    const Forward f = {s, x, x_batch, x_step, h0, c0, mask, y, h_last, c_last, kind >= TANH ? nullptr : gates, states};
    Aligned packed(s.blocks() * s.depth() * BLOCK);
    pack(s, {kernel, recurrent, bias, {kernel_row, kernel_column}, {recurrent_row, recurrent_column}}, packed.data);
    threads = (int)std::max<int64_t>(1, std::min<int64_t>(threads, batch));
    const int64_t pairs = 2 * s.pairs() * BLOCK;
    Aligned shorts(short_products ? s.blocks() * pairs / 2 : 1);
#if HAS_SHORT
    if (short_products) pack_short(packed.data, s.blocks(), s.depth(), s.pairs(), BLOCK, (brief*)shorts.data);
#endif
    over_kinds(kind, [&](auto k) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int part = 0; part < threads; part++) {
            const int64_t first = part * batch / threads, last = (part + 1) * batch / threads;
#if HAS_SHORT
            if (short_products) {
                forward<decltype(k)::value>(f, (const brief*)shorts.data, pairs, first, last);
                continue;
            }
#endif
            forward<decltype(k)::value>(f, packed.data, s.depth() * BLOCK, first, last);
        }
    });
}

// `y` holds the outputs where the mask makes them differ from what gates and states say; dkernel (F, G * U),
// drecurrent (U, G * U) and dbias (as the bias) are contiguous.
void lamina_recurrence_backward(int kind, int64_t batch, int64_t steps, int64_t features, int64_t units, int threads, int short_products,
                                const void* x, int64_t x_batch, int64_t x_step, const float* h0, const float* c0,
                                const uint8_t* mask, const float* kernel, int64_t kernel_row, int64_t kernel_column,
                                const float* recurrent, int64_t recurrent_row, int64_t recurrent_column,
                                const void* y, void* gates, float* states, const void* dy, const float* dh_last,
                                const float* dc_last, void* dx, float* dh0, float* dc0, float* dkernel, float* drecurrent,
                                float* dbias) {
    const Sizes s = {batch, steps, features, units, kind};
    const Forward f = {s, x, x_batch, x_step, h0, c0, mask, (void*)y, nullptr, nullptr, kind >= TANH ? nullptr : gates, states};
    const Backward b = {f, dy, dh_last, dc_last, dx, dh0, dc0};
    constexpr int wide = 2 * LANES;
    const int64_t size = s.blocks() * s.depth() * BLOCK, line = s.blocks() * BLOCK * wide;
    Aligned packed(size), turned_x((features + wide - 1) / wide * line), turned_h((units + wide - 1) / wide * line);
    pack(s, {kernel, recurrent, nullptr, {kernel_row, kernel_column}, {recurrent_row, recurrent_column}}, packed.data);
    if (dx) pack_back(s, packed.data, 0, features, turned_x.data);
    pack_back(s, packed.data, features, units, turned_h.data);
    const int64_t line_x = dx ? (features + wide - 1) / wide : 0, line_h = (units + wide - 1) / wide;
    Aligned short_x(short_products ? line_x * line / 2 : 1), short_h(short_products ? line_h * line / 2 : 1);
#if HAS_SHORT
    if (short_products) {
        pack_short(turned_x.data, line_x * s.blocks(), BLOCK, BLOCK / 2, wide, (brief*)short_x.data);
        pack_short(turned_h.data, line_h * s.blocks(), BLOCK, BLOCK / 2, wide, (brief*)short_h.data);
    }
#endif
    threads = (int)std::max<int64_t>(1, std::min<int64_t>(threads, batch));
    const int64_t own_size = s.blocks() * s.kept() * BLOCK;
    Aligned gradients(threads * own_size);
    over_kinds(kind, [&](auto k) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int part = 0; part < threads; part++) {
            std::fill_n(gradients.data + part * own_size, own_size, 0.0f);
            const int64_t first = part * batch / threads, last = (part + 1) * batch / threads;
            float* own = gradients.data + part * own_size;
#if HAS_SHORT
            if (short_products) {
                backward<decltype(k)::value>(b, (const brief*)short_x.data, (const brief*)short_h.data, own, first, last);
                continue;
            }
#endif
            backward<decltype(k)::value>(b, turned_x.data, turned_h.data, own, first, last);
        }
    });
    const int64_t all = s.gates() * units;
    for (int64_t block = 0; block < s.blocks(); block++)
        for (int64_t k = 0; k < s.depth(); k++)
            for (int place = 0; place < BLOCK; place++) {
                int gate;
                int64_t unit;
                where(s, block, place, &gate, &unit);
                if (unit >= units) continue;
                float total = 0;
                for (int part = 0; part < threads; part++)
                    total += gradients.data[part * own_size + (block * s.kept() + k) * BLOCK + place];
                const bool input = !(kind == GRU && gate == 3), state = !(kind == GRU && gate == 2);
                const int64_t c = (kind == GRU && gate == 3 ? 2 : gate) * units + unit;
                if (k < features) {
                    if (input) dkernel[k * all + c] = total;
                } else if (k < features + units) {
                    if (state) drecurrent[(k - features) * all + c] = total;
                } else if (dbias) {
                    if (input) dbias[c] = total;
                    if (kind == GRU && state) dbias[all + c] = total;
                }
            }
}
}
