// Convolution of images with what stands around it in one pass over memory: padding, bias, activation, pooling, the sum
// with another branch; forward, and backward for the input, the kernel and the bias. float32, channels last.
//
// A row of a window, KW * C numbers, lies in one piece of memory, so an output pixel is KH dot products with the columns
// of the kernel. A tile of pixels by one or two vectors of filters stays in registers all the while. Images go through one
// after another: what a convolution needs between its steps (the padded image, what pooling has not kept) is an image
// large and stays in the cache.
//
// Shapes: N images, H x W x C the input, KH x KW the window, F filters, OH x OW the output before pooling.
#include <omp.h>

#include <algorithm>

#include "activation.h"
#include "vector.h"

namespace {

#if defined(__AVX512F__)
constexpr int PAIR_ROWS = 12, SINGLE_ROWS = 24;  // pixels of a tile, with two vectors of filters and with one
#else
constexpr int PAIR_ROWS = 6, SINGLE_ROWS = 8;
#endif

constexpr int64_t CACHED = 1 << 16;  // floats that surely stay in the cache while they are met again

struct Shape {
    int64_t images, height, width, channels, window_h, window_w, filters, stride_h, stride_w;
    int64_t top, left, out_h, out_w;  // zeros before each axis; the output before pooling
    int64_t pool_h, pool_w;           // 0: no pooling; windows do not overlap
    int activation;
    int64_t depth() const { return window_w * channels; }
    int64_t pooled_h() const { return pool_h ? out_h / pool_h : out_h; }
    int64_t pooled_w() const { return pool_w ? out_w / pool_w : out_w; }
    int64_t used_h() const { return pool_h ? out_h / pool_h * pool_h : out_h; }  // rows that any pooling window sees
    int64_t used_w() const { return pool_w ? out_w / pool_w * pool_w : out_w; }
    int64_t room_h() const { return (used_h() - 1) * stride_h + window_h; }  // the padded input that is read
    int64_t room_w() const { return (used_w() - 1) * stride_w + window_w; }
    bool padded() const { return top || left || room_h() > height + top || room_w() > width + left; }
};

int64_t vectors(int64_t count) { return (count + LANES - 1) / LANES; }

// Kernel taps in the order in which a correlation reads them: (pairs of vectors of outputs, taps of the height, taps of
// the width, inputs, 2 * LANES); a last single vector makes a block half as wide.
template <typename Entry>
void pack(int64_t taps_h, int64_t taps_w, int64_t inputs, int64_t outputs, float* packed, Entry entry) {
    for (int64_t v = 0; v < vectors(outputs); v += 2) {
        const int64_t wide = std::min<int64_t>(2, vectors(outputs) - v) * LANES;
        for (int64_t i = 0; i < taps_h; i++)
            for (int64_t j = 0; j < taps_w; j++)
                for (int64_t c = 0; c < inputs; c++, packed += wide)
                    for (int64_t l = 0; l < wide; l++) {
                        const int64_t o = v * LANES + l;
                        packed[l] = o < outputs ? entry(i, j, c, o) : 0.0f;
                    }
    }
}

// What becomes of a tile's sums.
struct Target {
    float* data;
    int64_t row, pixel;  // strides
    int64_t outputs;
    const float *scale, *shift;  // of each output, may be null together; whole vectors
    const float* residual;       // like data, may be null
    int activation;
};

template <int R, int V>
INLINE void finish(const vec (&sums)[R][V], const Target& target, int64_t at, int64_t first_output) {
    UNROLL for (int v = 0; v < V; v++) {
        const int64_t o = first_output + v * LANES;
        const int valid = (int)std::min<int64_t>(LANES, target.outputs - o);
        const vec scale = target.scale ? load(target.scale + o) : splat(1.0f);
        const vec shift = target.scale ? load(target.shift + o) : vec{};
        UNROLL for (int r = 0; r < R; r++) {
            const int64_t place = at + r * target.pixel + o;
            vec y = sums[r][v] * scale + shift;
            if (target.residual) y += load_part(target.residual + place, valid);
            store_part(target.data + place, activate(y, target.activation), valid);
        }
    }
}

// Says that the tile at `at` will be written, so that its lines are there when the sums are.
template <int R, int V>
INLINE void announce(const Target& target, int64_t at, int64_t first_output) {
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)
        __builtin_prefetch(target.data + at + r * target.pixel + first_output + v * LANES, 1, 3);
}

// R pixels side by side by V vectors of outputs.
template <int R, int V>
void tile(const float* source, int64_t row, int64_t pixel, int64_t taps_h, int64_t depth, const float* weights,
          const Target& target, int64_t at, int64_t first_output) {
    vec sums[R][V];
    announce<R, V>(target, at, first_output);
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) sums[r][v] = vec{};
    const int64_t pixel3 = 3 * pixel;
    for (int64_t i = 0; i < taps_h; i++) {
        const float* p = source + i * row;
        for (int64_t k = 0; k < depth; k++, p++) {
            vec w[V];
            UNROLL for (int v = 0; v < V; v++) w[v] = load(weights + v * LANES);
            weights += V * LANES;
            const float* q = p;
            UNROLL for (int r = 0; r < R; r += 4) {  // four addresses from one pointer, as the processor can
                const vec a0 = splat(q[0]);
                UNROLL for (int v = 0; v < V; v++) sums[r][v] += a0 * w[v];
                if (r + 1 < R) {
                    const vec a1 = splat(q[pixel]);
                    UNROLL for (int v = 0; v < V; v++) sums[r + 1][v] += a1 * w[v];
                }
                if (r + 2 < R) {
                    const vec a2 = splat(q[2 * pixel]);
                    UNROLL for (int v = 0; v < V; v++) sums[r + 2][v] += a2 * w[v];
                }
                if (r + 3 < R) {
                    const vec a3 = splat(q[pixel3]);
                    UNROLL for (int v = 0; v < V; v++) sums[r + 3][v] += a3 * w[v];
                }
                q += 4 * pixel;
            }
        }
    }
    finish<R, V>(sums, target, at, first_output);
}

template <int V>
void tiles(int rows, const float* source, int64_t row, int64_t pixel, int64_t taps_h, int64_t depth, const float* weights,
           const Target& target, int64_t at, int64_t first_output) {
#define CASE(R) \
    case R: return tile<R, V>(source, row, pixel, taps_h, depth, weights, target, at, first_output);
    switch (rows) {
        CASE(1) CASE(2) CASE(4)
#if defined(__AVX512F__)
        CASE(6) CASE(8) CASE(12)
        case 16: if constexpr (V == 1) return tile<16, V>(source, row, pixel, taps_h, depth, weights, target, at, first_output);
        default: if constexpr (V == 1) return tile<SINGLE_ROWS, V>(source, row, pixel, taps_h, depth, weights, target, at, first_output);
#else
        CASE(6)
        default: if constexpr (V == 1) return tile<SINGLE_ROWS, V>(source, row, pixel, taps_h, depth, weights, target, at, first_output);
#endif
    }
#undef CASE
}

// The same for one vector of outputs and windows that move by one pixel. Each number of the input is met by all TAPS
// columns of the kernel at once: with a single vector, loading it for each of them would take longer than the products.
template <int R, int TAPS>
void slide(const float* source, int64_t row, int64_t channels, int64_t taps_h, const float* weights, const Target& target,
           int64_t at, int64_t first_output) {
    vec sums[R][1];
    announce<R, 1>(target, at, first_output);
    UNROLL for (int r = 0; r < R; r++) sums[r][0] = vec{};
    for (int64_t i = 0; i < taps_h; i++, weights += TAPS * channels * LANES)
        for (int64_t c = 0; c < channels; c++) {
            vec w[TAPS];
            UNROLL for (int j = 0; j < TAPS; j++) w[j] = load(weights + (j * channels + c) * LANES);
            const float* p = source + i * row + c;
            UNROLL for (int q = 0; q < R + TAPS - 1; q++) {
                const vec a = splat(p[q * channels]);
                UNROLL for (int j = 0; j < TAPS; j++)
                    if (q - j >= 0 && q - j < R) sums[q - j][0] += a * w[j];
            }
        }
    finish<R, 1>(sums, target, at, first_output);
}

#if defined(__AVX512F__)
constexpr int SLIDE_ROWS[] = {16, 8};
#else
constexpr int SLIDE_ROWS[] = {8, 4};
#endif

template <int TAPS>
void slides(int rows, const float* source, int64_t row, int64_t channels, int64_t taps_h, const float* weights,
            const Target& target, int64_t at, int64_t first_output) {
    if (rows == SLIDE_ROWS[0]) slide<SLIDE_ROWS[0], TAPS>(source, row, channels, taps_h, weights, target, at, first_output);
    else slide<SLIDE_ROWS[1], TAPS>(source, row, channels, taps_h, weights, target, at, first_output);
}

// How many pixels a tile takes of a row of `width`: few pixels computed twice come first, then large tiles.
int tile_rows(int64_t width, int most) {
    static const int choices[] = {24, 16, 12, 8, 6, 4, 2, 1};
    int best = 1;
    int64_t least = INT64_MAX;
    for (int rows : choices) {
        if (rows > most || rows > width) continue;
        const int64_t cost = (width + rows - 1) / rows * (rows + 2);  // each tile also loads weights and stores
        if (cost < least) least = cost, best = rows;
    }
    return best;
}

// Output rows `first` to `last` of `width` pixels each; `source` is where the first window of row 0 begins. Bands of rows
// that fit into the cache meet all columns of the kernel before the next band begins.
void correlate(const float* source, int64_t row, int64_t stride_h, int64_t pixel, int64_t taps_h, int64_t taps_w,
               int64_t channels, const float* packed, int64_t first, int64_t last, int64_t width, const Target& target, Ahead ahead = Ahead()) {
    const int64_t depth = taps_w * channels, count = vectors(target.outputs), band = std::max<int64_t>(1, CACHED / (stride_h * row));
    const int pair_rows = tile_rows(width, PAIR_ROWS);
    const bool sliding = pixel == channels && taps_w >= 3 && taps_w <= 5 && width >= SLIDE_ROWS[1];
    const int single_rows = !sliding ? tile_rows(width, SINGLE_ROWS)
                            : (width + SLIDE_ROWS[0] - 1) / SLIDE_ROWS[0] * SLIDE_ROWS[0] <=
                                      (width + SLIDE_ROWS[1] - 1) / SLIDE_ROWS[1] * SLIDE_ROWS[1] && width >= SLIDE_ROWS[0]
                                ? SLIDE_ROWS[0]
                                : SLIDE_ROWS[1];
    for (int64_t begin = first; begin < last; begin += band)
        for (int64_t v = 0; v < count; v += 2) {
            const float* weights = packed + v * LANES * taps_h * depth;
            const bool pair = v + 1 < count;
            const int rows = pair ? pair_rows : single_rows;
            for (int64_t y = begin; y < std::min(begin + band, last); y++)
                for (int64_t x = 0; x < width; x += rows) {
                    const int64_t left = std::min<int64_t>(x, width - rows);  // the last tile may overlap the one before
                    const float* from = source + y * stride_h * row + left * pixel;
                    const int64_t at = y * target.row + left * target.pixel;
                    ahead.step();
                    if (pair) tiles<2>(rows, from, row, pixel, taps_h, depth, weights, target, at, v * LANES);
                    else if (sliding && taps_w == 3) slides<3>(rows, from, row, channels, taps_h, weights, target, at, v * LANES);
                    else if (sliding && taps_w == 4) slides<4>(rows, from, row, channels, taps_h, weights, target, at, v * LANES);
                    else if (sliding) slides<5>(rows, from, row, channels, taps_h, weights, target, at, v * LANES);
                    else tiles<1>(rows, from, row, pixel, taps_h, depth, weights, target, at, v * LANES);
                }
        }
}

// Rows `first` to `last` of the padded input, at their places in `room`.
void pad(const Shape& s, const float* image, int64_t first, int64_t last, float* room) {
    const int64_t line = s.room_w() * s.channels;
    const int64_t inside = std::min(s.width, s.room_w() - s.left) * s.channels, before = s.left * s.channels;
    for (int64_t y = first; y < last; y++) {
        float* to = room + y * line;
        const int64_t from = y - s.top;
        if (from < 0 || from >= s.height) {
            std::fill_n(to, line, 0.0f);
            continue;
        }
        std::fill_n(to, before, 0.0f);
        std::memcpy(to + before, image + from * s.width * s.channels, inside * sizeof(float));
        std::fill_n(to + before + inside, line - before - inside, 0.0f);
    }
}

// One row of pooling windows out of the rows in `lines`; `places` says which member of each window was the largest.
template <bool PLACES>
void pool(const Shape& s, const float* lines, int64_t line, float* y, uint8_t* places) {
    const int64_t padded = vectors(s.filters) * LANES;
    for (int64_t x = 0; x < s.pooled_w(); x++)
        for (int64_t c = 0; c < s.filters; c += LANES) {
            const float* from = lines + x * s.pool_w * padded + c;
            vec best = load(from), spoilt = best;
            ivec place = {};
            int number = 0;
            for (int64_t i = 0; i < s.pool_h; i++)
                for (int64_t j = 0; j < s.pool_w; j++, number++) {
                    const vec v = load(from + i * line + j * padded);
                    spoilt = v == v ? spoilt : v;  // a NaN wins, as in torch
                    if (PLACES) place = v > best ? ivec{} + number : place;  // the first of equal values
                    best = v > best ? v : best;
                }
            best = spoilt == spoilt ? best : spoilt;
            const int valid = (int)std::min<int64_t>(LANES, s.filters - c);
            store_part(y + x * s.filters + c, activate(best, s.activation), valid);
            if (PLACES) store_bytes(places + x * s.filters + c, place, valid);
        }
}

struct Call {
    Shape s;
    const float *x, *packed, *scale, *shift, *residual;
    float* y;
    uint8_t* places;
};

// Rows `first` to `last` of the result (pooled, where there is pooling) of one image.
void image_forward(const Call& c, int64_t n, int64_t first, int64_t last, float* room, float* lines) {
    const Shape& s = c.s;
    const int64_t size_x = s.height * s.width * s.channels;
    const float* image = c.x + n * size_x;
    const int64_t steps = s.out_h * (s.out_w / 8 + 1) * (vectors(s.filters) / 2 + 1);
    const Ahead ahead = n + 1 < s.images ? Ahead(image + size_x, size_x, steps / 4 + 1) : Ahead();
    int64_t row = s.width * s.channels;
    const int64_t high = s.pool_h ? s.pool_h : 1;
    if (s.padded()) {
        const int64_t begin = first * high * s.stride_h;
        pad(s, image, begin, std::min((last * high - 1) * s.stride_h + s.window_h, s.room_h()), room);
        image = room;
        row = s.room_w() * s.channels;
    }
    const int64_t size = s.pooled_h() * s.pooled_w() * s.filters;
    const int64_t pixel = s.stride_w * s.channels;
    if (!s.pool_h) {
        const Target target = {c.y + n * size, s.out_w * s.filters, s.filters, s.filters, c.scale, c.shift,
                               c.residual ? c.residual + n * size : nullptr, s.activation};
        return correlate(image, row, s.stride_h, pixel, s.window_h, s.window_w, s.channels, c.packed, first, last, s.out_w, target, ahead);
    }
    const int64_t padded = vectors(s.filters) * LANES, line = s.used_w() * padded;
    for (int64_t y = first; y < last; y++) {
        const float* from = image + y * high * s.stride_h * row;
        const Target target = {lines, line, padded, padded, c.scale, c.shift, nullptr, NONE};
        correlate(from, row, s.stride_h, pixel, s.window_h, s.window_w, s.channels, c.packed, 0, high, s.used_w(), target);
        const int64_t at = n * size + y * s.pooled_w() * s.filters;
        if (c.places) pool<true>(s, lines, line, c.y + at, c.places + at);
        else pool<false>(s, lines, line, c.y + at, nullptr);
    }
}

struct Margins {
    int64_t before_h, before_w, rows, columns;  // of the gradient with zeros around it
};

// How much room the gradient of the output needs around it for the gradient of the input.
Margins margins_of(const Shape& s) {
    const int64_t last_h = (s.height - 1 + s.top) / s.stride_h, last_w = (s.width - 1 + s.left) / s.stride_w;
    return {s.window_h - 1, s.window_w - 1, s.window_h - 1 + std::max(last_h + 1, s.used_h()),
            s.window_w - 1 + std::max(last_w + 1, s.used_w())};
}

// The gradient before pooling and activation, for one image, into the middle of `gradient`.
void image_gradient(const Shape& s, const float* dy, const float* y, const uint8_t* places, float* gradient, int64_t line) {
    const int64_t size = s.filters;
    for (int64_t i = 0; i < s.pooled_h(); i++)
        for (int64_t j = 0; j < s.pooled_w(); j++) {
            const int64_t at = (i * s.pooled_w() + j) * size;
            for (int64_t c = 0; c < size; c += LANES) {
                const int valid = (int)std::min<int64_t>(LANES, size - c);
                vec g = load_part(dy + at + c, valid);
                if (s.activation) g = deactivate(g, load_part(y + at + c, valid), s.activation);
                if (!s.pool_h) {
                    store_part(gradient + i * line + j * size + c, g, valid);
                    continue;
                }
                const ivec place = load_bytes(places + at + c, valid);
                for (int64_t a = 0; a < s.pool_h; a++)
                    for (int64_t b = 0; b < s.pool_w; b++) {
                        const vec part = place == ivec{} + (int)(a * s.pool_w + b) ? g : vec{};
                        store_part(gradient + (i * s.pool_h + a) * line + (j * s.pool_w + b) * size + c, part, valid);
                    }
            }
        }
}

// sums[k] += source[k] * gradient over all pixels, for R inputs and V vectors of filters
template <int R, int V>
void outer(const float* source, int64_t row, int64_t pixel, const float* gradient, int64_t line, int64_t filters,
           int64_t height, int64_t width, int valid, float* sums, int64_t stride) {
    vec s[R][V];
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) s[r][v] = load(sums + r * stride + v * LANES);
    for (int64_t y = 0; y < height; y++) {
        const float *p = source + y * row, *g = gradient + y * line;
        for (int64_t x = 0; x < width; x++, p += pixel, g += filters) {
            vec d[V];
            UNROLL for (int v = 0; v < V; v++) d[v] = v + 1 < V || valid == LANES ? load(g + v * LANES) : load_part(g + v * LANES, valid);
            UNROLL for (int r = 0; r < R; r++) {
                const vec a = splat(p[r]);
                UNROLL for (int v = 0; v < V; v++) s[r][v] += a * d[v];
            }
        }
    }
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++) store(sums + r * stride + v * LANES, s[r][v]);
}

template <int V>
void outers(int64_t count, const float* source, int64_t row, int64_t pixel, const float* gradient, int64_t line,
            int64_t filters, int64_t height, int64_t width, int valid, float* sums, int64_t stride) {
    constexpr int most = V == 2 ? PAIR_ROWS : SINGLE_ROWS;
    int64_t k = 0;
#define STEP(R) \
    for (; k + R <= count; k += R) \
        outer<R, V>(source + k, row, pixel, gradient, line, filters, height, width, valid, sums + k * stride, stride);
    STEP(most) STEP(8) STEP(4) STEP(2)
#undef STEP
}

// The same for one vector of filters and windows that move by one pixel: R channels by TAPS columns of the kernel. Each
// number of the input meets the TAPS gradients that have reached it, which move through registers.
template <int R, int TAPS>
void outer_sliding(const float* source, int64_t row, int64_t channels, const float* gradient, int64_t line, int64_t filters,
                   int64_t height, int64_t width, int valid, float* sums, int64_t stride) {
    vec s[TAPS][R];
    UNROLL for (int j = 0; j < TAPS; j++) UNROLL for (int r = 0; r < R; r++) s[j][r] = load(sums + (j * channels + r) * stride);
    for (int64_t y = 0; y < height; y++) {
        const float *p = source + y * row, *g = gradient + y * line;
        vec d[TAPS];
        UNROLL for (int j = 0; j < TAPS; j++) d[j] = vec{};
        for (int64_t x = 0; x < width + TAPS - 1; x++, p += channels, g += filters) {
            UNROLL for (int j = TAPS - 1; j > 0; j--) d[j] = d[j - 1];
            d[0] = x < width ? load_part(g, valid) : vec{};
            UNROLL for (int r = 0; r < R; r++) {
                const vec a = splat(p[r]);
                UNROLL for (int j = 0; j < TAPS; j++) s[j][r] += a * d[j];
            }
        }
    }
    UNROLL for (int j = 0; j < TAPS; j++) UNROLL for (int r = 0; r < R; r++) store(sums + (j * channels + r) * stride, s[j][r]);
}

template <int TAPS>
void outers_sliding(const float* source, int64_t row, int64_t channels, const float* gradient, int64_t line, int64_t filters,
                    int64_t height, int64_t width, int valid, float* sums, int64_t stride) {
    constexpr int most = TAPS == 3 && LANES == 16 ? 8 : LANES == 16 ? 4 : 2;
    int64_t c = 0;
#define STEP(R) \
    for (; c + R <= channels; c += R) \
        outer_sliding<R, TAPS>(source + c, row, channels, gradient, line, filters, height, width, valid, sums + c * stride, stride);
    STEP(most) STEP(2) STEP(1)
#undef STEP
}

// How the gradient of the kernel sees the input: the rows of a window one after another, or, if they are short, whole
// windows laid out. The depth is rounded up to what tiles can take; what is read beyond a row is not used.
struct Windows {
    int64_t taps, depth, rounded;
    bool laid_out;
    explicit Windows(const Shape& s) {
        laid_out = s.depth() < 12 && s.window_h > 1;
        taps = laid_out ? 1 : s.window_h;
        depth = laid_out ? s.window_h * s.depth() : s.depth();
        rounded = (depth + 3) / 4 * 4;
    }
};

// (taps, rounded depth, filters in vectors) += for one image
void image_kernel_gradient(const Shape& s, const float* image, int64_t row, const float* gradient, int64_t line, float* sums,
                           float* columns) {
    const int64_t stride = vectors(s.filters) * LANES;
    const Windows w(s);
    int64_t pixel = s.stride_w * s.channels, step = s.stride_h * row;
    const float* source = image;
    if (w.laid_out) {
        float* to = columns;
        for (int64_t y = 0; y < s.used_h(); y++)
            for (int64_t x = 0; x < s.used_w(); x++, to += w.rounded)
                for (int64_t i = 0; i < s.window_h; i++) {
                    const float* from = image + (y * s.stride_h + i) * row + x * pixel;
                    for (int64_t k = 0; k < s.depth(); k++) to[i * s.depth() + k] = from[k];
                }
        pixel = w.rounded, step = s.used_w() * w.rounded, source = columns;
    }
    const bool sliding = !w.laid_out && s.stride_w == 1 && s.window_w >= 3 && s.window_w <= 5;
    const int64_t band = std::max<int64_t>(1, CACHED / std::max(line, step));
    for (int64_t begin = 0; begin < s.used_h(); begin += band) {
        const int64_t rows = std::min(band, s.used_h() - begin);
        for (int64_t i = 0; i < w.taps; i++)
            for (int64_t v = 0; v < vectors(s.filters); v += 2) {
                const int64_t left = s.filters - v * LANES;
                const float *from = source + begin * step + i * row, *g = gradient + begin * line + v * LANES;
                float* to = sums + i * w.rounded * stride + v * LANES;
                const int valid = (int)std::min<int64_t>(LANES, left > LANES ? left - LANES : left);
                if (left > LANES) outers<2>(w.rounded, from, step, pixel, g, line, s.filters, rows, s.used_w(), valid, to, stride);
                else if (sliding && s.window_w == 3) outers_sliding<3>(from, step, s.channels, g, line, s.filters, rows, s.used_w(), valid, to, stride);
                else if (sliding && s.window_w == 4) outers_sliding<4>(from, step, s.channels, g, line, s.filters, rows, s.used_w(), valid, to, stride);
                else if (sliding) outers_sliding<5>(from, step, s.channels, g, line, s.filters, rows, s.used_w(), valid, to, stride);
                else outers<1>(w.rounded, from, step, pixel, g, line, s.filters, rows, s.used_w(), valid, to, stride);
            }
    }
}

// One of stride_h * stride_w phases of the gradient of the input: the pixels that meet the same taps.
struct Phase {
    int64_t first_h, first_w, taps_h, taps_w, from_h, from_w;  // from: the tap that meets the last row, column
    const float* packed;
};

struct Back {
    Shape s;
    const float *x, *dy, *y;
    const uint8_t* places;
    float *dx, *sums, *bias_sums;  // sums of one thread
};

void image_backward(const Back& b, int64_t n, const Phase* phases, const Margins& m, float* room, float* gradient,
                    float* columns) {
    const Shape& s = b.s;
    const int64_t size = s.pooled_h() * s.pooled_w() * s.filters;
    const bool direct = !b.dx && !s.activation && !s.pool_h;  // the gradient as it came serves
    const int64_t line = direct ? s.out_w * s.filters : m.columns * s.filters;
    const float* middle = direct ? b.dy + n * size : gradient + m.before_h * line + m.before_w * s.filters;
    if (!direct)
        image_gradient(s, b.dy + n * size, b.y ? b.y + n * size : nullptr, b.places ? b.places + n * size : nullptr,
                       (float*)middle, line);
    if (b.sums) {
        const float* image = b.x + n * s.height * s.width * s.channels;
        int64_t row = s.width * s.channels;
        if (s.padded() || s.depth() % 4) {  // reads a little beyond a row
            pad(s, image, 0, s.room_h(), room);
            image = room, row = s.room_w() * s.channels;
        }
        image_kernel_gradient(s, image, row, middle, line, b.sums, columns);
    }
    if (b.bias_sums)
        for (int64_t c = 0; c < s.filters; c += LANES) {
            const int valid = (int)std::min<int64_t>(LANES, s.filters - c);
            vec total = {};
            for (int64_t i = 0; i < s.used_h(); i++)
                for (int64_t j = 0; j < s.used_w(); j++) total += load_part(middle + i * line + j * s.filters + c, valid);
            store(b.bias_sums + c, load(b.bias_sums + c) + total);
        }
    if (!b.dx) return;
    float* dx = b.dx + n * s.height * s.width * s.channels;
    const int64_t steps = s.height * (s.width / 8 + 1) * (vectors(s.channels) / 2 + 1) / (s.stride_h * s.stride_w) + 1;
    Ahead ahead = n + 1 < s.images ? Ahead(b.dy + (n + 1) * size, size, steps / 4 + 1) : Ahead();
    for (int64_t p = 0; p < s.stride_h * s.stride_w; p++) {
        const Phase& f = phases[p];
        const int64_t rows = (s.height - f.first_h + s.stride_h - 1) / s.stride_h;
        const int64_t columns_ = (s.width - f.first_w + s.stride_w - 1) / s.stride_w;
        if (rows <= 0 || columns_ <= 0) continue;
        const Target target = {dx + (f.first_h * s.width + f.first_w) * s.channels, s.stride_h * s.width * s.channels,
                               s.stride_w * s.channels, s.channels, nullptr, nullptr, nullptr, NONE};
        const float* from = gradient + f.from_h * line + f.from_w * s.filters;
        correlate(from, line, 1, s.filters, f.taps_h, f.taps_w, s.filters, f.packed, 0, rows, columns_, target, ahead);
        ahead = Ahead();
    }
}

int parts(int threads, int64_t work) { return (int)std::max<int64_t>(1, std::min<int64_t>(threads, work)); }

}  // namespace

extern "C" {

// kernel (KH, KW, C, F) with any strides; y (N, OH, OW, F) = activation(product * scale + shift + residual), or its pooled
// shape, with `places` for the way back. scale, shift, residual and places may be null.
void lamina_convolution_forward(const int64_t* shape, int activation, int threads, const float* x, const float* kernel,
                                const int64_t* strides, const float* scale, const float* shift, const float* residual,
                                float* y, uint8_t* places) {
    Shape s;
    std::memcpy(&s, shape, 15 * sizeof(int64_t));
    s.activation = activation;
    Aligned packed(s.window_h * s.depth() * vectors(s.filters) * LANES);
    pack(s.window_h, s.window_w, s.channels, s.filters, packed.data, [&](int64_t i, int64_t j, int64_t c, int64_t o) {
        return kernel[i * strides[0] + j * strides[1] + c * strides[2] + o * strides[3]];
    });
    const int64_t padded = vectors(s.filters) * LANES;  // whole vectors
    Aligned scales(padded), shifts(padded);
    std::fill_n(scales.data, padded, 1.0f);
    std::fill_n(shifts.data, padded, 0.0f);
    if (scale) std::memcpy(scales.data, scale, s.filters * sizeof(float));
    if (shift) std::memcpy(shifts.data, shift, s.filters * sizeof(float));
    const Call call = {s, x, packed.data, scales.data, shifts.data, residual, y, places};
    // Bands of rows only where there are too few images to share.
    const int64_t bands = s.images >= 2 * threads ? 1 : std::min<int64_t>(s.pooled_h(), 4 * threads);
    const int64_t work = s.images * bands;
    threads = parts(threads, work);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int part = 0; part < threads; part++) {
        const FlushDenormals flush;
        Aligned room(s.padded() ? s.room_h() * s.room_w() * s.channels : 1);
        Aligned lines(s.pool_h ? s.pool_h * s.used_w() * vectors(s.filters) * LANES : 1);
        for (int64_t w = part * work / threads; w < (part + 1) * work / threads; w++) {
            const int64_t band = w % bands;
            image_forward(call, w / bands, band * s.pooled_h() / bands, (band + 1) * s.pooled_h() / bands, room.data, lines.data);
        }
    }
}

// dx, dkernel (KH, KW, C, F, with strides of its own) and dbias may be null.
void lamina_convolution_backward(const int64_t* shape, int activation, int threads, const float* x, const float* kernel,
                                 const int64_t* strides, const float* y, const uint8_t* places, const float* dy, float* dx,
                                 float* dkernel, const int64_t* gradient_strides, float* dbias) {
    Shape s;
    std::memcpy(&s, shape, 15 * sizeof(int64_t));
    s.activation = activation;
    const Margins m = margins_of(s);
    const Windows windows(s);
    const int64_t stride = vectors(s.filters) * LANES, size = windows.taps * windows.rounded * stride;
    const int64_t phase_size = s.window_h * s.window_w * s.filters * vectors(s.channels) * LANES;
    const int64_t phase_count = s.stride_h * s.stride_w;
    Aligned packed(dx ? phase_size : 1);  // the phases share the taps out
    Phase* phases = new Phase[phase_count];
    float* to = packed.data;
    for (int64_t p = 0; dx && p < phase_count; p++) {
        const int64_t a = p / s.stride_w, b = p % s.stride_w;
        const int64_t tap_h = (a + s.top) % s.stride_h, tap_w = (b + s.left) % s.stride_w;
        const int64_t taps_h = tap_h < s.window_h ? (s.window_h - 1 - tap_h) / s.stride_h + 1 : 0;
        const int64_t taps_w = tap_w < s.window_w ? (s.window_w - 1 - tap_w) / s.stride_w + 1 : 0;
        phases[p] = {a, b, taps_h, taps_w, m.before_h + (a + s.top) / s.stride_h - (taps_h - 1),
                     m.before_w + (b + s.left) / s.stride_w - (taps_w - 1), to};
        pack(taps_h, taps_w, s.filters, s.channels, to, [&](int64_t i, int64_t j, int64_t o, int64_t c) {
            return kernel[(tap_h + (taps_h - 1 - i) * s.stride_h) * strides[0] +
                          (tap_w + (taps_w - 1 - j) * s.stride_w) * strides[1] + c * strides[2] + o * strides[3]];
        });
        to += taps_h * taps_w * s.filters * vectors(s.channels) * LANES;
    }
    threads = parts(threads, s.images);
    Aligned sums(threads * (size + stride));
    const int64_t columns = windows.laid_out ? s.used_h() * s.used_w() * windows.rounded : 1;
    const int64_t room_size = s.padded() || s.depth() % 4 ? s.room_h() * s.room_w() * s.channels + 4 : 1;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int part = 0; part < threads; part++) {
        const FlushDenormals flush;
        float* own = sums.data + part * (size + stride);
        std::fill_n(own, size + stride, 0.0f);
        const int64_t area = m.rows * m.columns * s.filters;
        Aligned room(room_size), gradient(area), laid_out(columns);
        std::fill_n(room.data, room_size, 0.0f);
        std::fill_n(laid_out.data, columns, 0.0f);
        std::fill_n(gradient.data, area, 0.0f);
        const Back back = {s, x, dy, y, places, dx, dkernel ? own : nullptr, dbias ? own + size : nullptr};
        for (int64_t n = part * s.images / threads; n < (part + 1) * s.images / threads; n++)
            image_backward(back, n, phases, m, room.data, gradient.data, laid_out.data);
    }
    delete[] phases;
    for (int64_t i = 0; dkernel && i < windows.taps; i++)
        for (int64_t k = 0; k < windows.depth; k++)
            for (int64_t o = 0; o < s.filters; o++) {
                float total = 0;
                for (int part = 0; part < threads; part++)
                    total += sums.data[part * (size + stride) + (i * windows.rounded + k) * stride + o];
                const int64_t at = i * windows.depth + k, tap = at / s.channels;
                dkernel[tap / s.window_w * gradient_strides[0] + tap % s.window_w * gradient_strides[1] +
                        at % s.channels * gradient_strides[2] + o * gradient_strides[3]] = total;
            }
    for (int64_t o = 0; dbias && o < s.filters; o++) {
        float total = 0;
        for (int part = 0; part < threads; part++) total += sums.data[part * (size + stride) + size + o];
        dbias[o] = total;
    }
}
}
