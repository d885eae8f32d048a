// Batch normalization with the statistics of the batch, with what often follows it: the sum with another branch, ReLU.
// Forward two passes over memory, backward two. float32 or bfloat16 in memory, float32 in between; rows of C numbers.
#include <omp.h>

#include <algorithm>

#include "vector.h"

namespace {

constexpr int64_t BLOCK = 32;  // rows that are met together, one vector of channels after another

struct Rows {
    int64_t count, channels;
    int64_t lines() const { return (channels + LANES - 1) / LANES * LANES; }  // channels in whole vectors
};

// Calls f(first row, rows, first channel, valid lanes) over the blocks of rows `first` to `last`.
template <typename F>
INLINE void over_blocks(const Rows& r, int64_t first, int64_t last, F f) {
    for (int64_t row = first; row < last; row += BLOCK)
        for (int64_t c = 0; c < r.channels; c += LANES)
            f(row, std::min(BLOCK, last - row), c, (int)std::min<int64_t>(LANES, r.channels - c));
}

// Mean and sum of squared deviations of some rows, joined with those of the rows before (Chan, Golub, LeVeque, 1983).
template <typename Number>
void moments(const Rows& r, const Number* x, int64_t first, int64_t last, float* mean, float* squares) {
    over_blocks(r, first, last, [&](int64_t row, int64_t rows, int64_t c, int valid) {
        const Number* p = x + row * r.channels + c;
        vec sums[4] = {}, deviations[4] = {};
        int64_t i = 0;
        for (; i + 4 <= rows; i += 4)
            UNROLL for (int k = 0; k < 4; k++) sums[k] += load_part(p + (i + k) * r.channels, valid);
        for (; i < rows; i++) sums[0] += load_part(p + i * r.channels, valid);
        const vec here = ((sums[0] + sums[1]) + (sums[2] + sums[3])) * (1.0f / (float)rows);
        for (i = 0; i + 4 <= rows; i += 4)
            UNROLL for (int k = 0; k < 4; k++) {
                const vec d = load_part(p + (i + k) * r.channels, valid) - here;
                deviations[k] += d * d;
            }
        for (; i < rows; i++) {
            const vec d = load_part(p + i * r.channels, valid) - here;
            deviations[0] += d * d;
        }
        const float before = (float)(row - first), share = (float)rows / (before + (float)rows);
        const vec old = load(mean + c), delta = here - old;
        store(mean + c, old + delta * share);
        store(squares + c, load(squares + c) + ((deviations[0] + deviations[1]) + (deviations[2] + deviations[3])) +
                               delta * delta * (before * share));
    });
}

int parts(int threads, int64_t rows) { return (int)std::max<int64_t>(1, std::min<int64_t>(threads, rows / BLOCK)); }

template <bool RESIDUAL, bool RELU, typename Number>
void normalize(const Rows& r, const Number* x, const Number* residual, const float* scale, const float* shift, int64_t first,
               int64_t last, Number* y) {
    over_blocks(r, first, last, [&](int64_t row, int64_t rows, int64_t c, int valid) {
        const vec s = load(scale + c), t = load(shift + c);
        for (int64_t i = row; i < row + rows; i++) {
            const int64_t at = i * r.channels + c;
            vec v = load_part(x + at, valid) * s + t;
            if (RESIDUAL) v += load_part(residual + at, valid);
            if (RELU) v = v < 0.0f ? vec{} : v;
            store_part(y + at, v, valid);
        }
    });
}

template <typename Number>
void apply(const Rows& r, const Number* x, const Number* residual, int relu, const float* scale, const float* shift,
           int64_t first, int64_t last, Number* y) {
    if (residual && relu) normalize<true, true>(r, x, residual, scale, shift, first, last, y);
    else if (residual) normalize<true, false>(r, x, residual, scale, shift, first, last, y);
    else if (relu) normalize<false, true>(r, x, residual, scale, shift, first, last, y);
    else normalize<false, false>(r, x, residual, scale, shift, first, last, y);
}

// Where ReLU let nothing through: read off the result, or, with nothing added, computed again as on the way forward, which
// takes no reading at all.
enum Passed { ALL, READ, AGAIN };

template <int PASSED, typename Number>
INLINE vec let_through(vec gradient, vec x, const Number* y, int64_t at, int valid, vec scale, vec shift) {
    if (PASSED == READ) return load_part(y + at, valid) > 0.0f ? gradient : vec{};
    if (PASSED == AGAIN) return x * scale + shift > 0.0f ? gradient : vec{};
    return gradient;
}

template <int PASSED, typename Number>
void sums_back(const Rows& r, const Number* dy, const Number* x, const Number* y, const float* scale, const float* shift,
               const float* mean, int64_t first, int64_t last, float* sum, float* product) {
    over_blocks(r, first, last, [&](int64_t row, int64_t rows, int64_t c, int valid) {
        const vec m = load(mean + c), k = load(scale + c), t = load(shift + c);
        vec s[2] = {}, p[2] = {};
        for (int64_t i = 0; i < rows; i++) {
            const int64_t at = (row + i) * r.channels + c;
            const vec value = load_part(x + at, valid);
            const vec g = let_through<PASSED>(load_part(dy + at, valid), value, y, at, valid, k, t);
            s[i % 2] += g;
            p[i % 2] += g * (value - m);
        }
        store(sum + c, load(sum + c) + (s[0] + s[1]));
        store(product + c, load(product + c) + (p[0] + p[1]));
    });
}

template <int PASSED, typename Number>
void gradient(const Rows& r, const Number* dy, const Number* x, const Number* y, const float* scale, const float* shift,
              const float* mean, const float* factor, const float* offset, const float* slope, int64_t first, int64_t last,
              Number* dx, Number* dresidual) {
    over_blocks(r, first, last, [&](int64_t row, int64_t rows, int64_t c, int valid) {
        const vec s = load(scale + c), t = load(shift + c);
        const vec k = load(factor + c), a = load(offset + c), b = load(slope + c), m = load(mean + c);
        for (int64_t i = row; i < row + rows; i++) {
            const int64_t at = i * r.channels + c;
            const vec value = load_part(x + at, valid);
            const vec g = let_through<PASSED>(load_part(dy + at, valid), value, y, at, valid, s, t);
            if (dresidual) store_part(dresidual + at, g, valid);
            store_part(dx + at, k * (g - a - (value - m) * b), valid);
        }
    });
}

// y = relu?((x - mean) * inverse * gamma + beta + residual?) and the statistics, `inverse` = 1 / sqrt(variance + epsilon);
// `factors` (2, C) is what x was multiplied by and what was added.
template <typename Number>
void forward(int64_t rows, int64_t channels, int threads, float epsilon, int relu, const Number* x,
                                  const float* gamma, const float* beta, const Number* residual, Number* y, float* mean,
                                  float* inverse, float* factors) {
    const Rows r = {rows, channels};
    const int64_t lines = r.lines();
    threads = parts(threads, rows);
    Aligned all(threads * 2 * lines), scale(lines), shift(lines);
    std::fill_n(all.data, threads * 2 * lines, 0.0f);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static, 1)
        for (int p = 0; p < threads; p++)
            moments(r, x, p * rows / threads, (p + 1) * rows / threads, all.data + p * 2 * lines, all.data + (p * 2 + 1) * lines);
#pragma omp single
        for (int64_t c = 0; c < channels; c++) {
            double m = 0, squares = 0, seen = 0;
            for (int p = 0; p < threads; p++) {
                const double count = (double)((p + 1) * rows / threads - p * rows / threads);
                const double delta = all.data[p * 2 * lines + c] - m;
                squares += all.data[(p * 2 + 1) * lines + c] + delta * delta * seen * count / (seen + count);
                m += delta * count / (seen + count);
                seen += count;
            }
            mean[c] = (float)m;
            const double inv = 1.0 / __builtin_sqrt(squares / (double)rows + epsilon);
            inverse[c] = (float)inv;
            const double s = inv * (gamma ? gamma[c] : 1.0f);
            scale.data[c] = (float)s;
            shift.data[c] = (float)((beta ? beta[c] : 0.0f) - m * s);
            factors[c] = scale.data[c], factors[channels + c] = shift.data[c];
        }
#pragma omp for schedule(static, 1)
        for (int p = 0; p < threads; p++) {
            const int64_t first = p * rows / threads, last = (p + 1) * rows / threads;
            apply(r, x, residual, relu, scale.data, shift.data, first, last, y);
        }
    }
}

// y = relu?(x * scale + shift + residual?)
template <typename Number>
void scaled(int64_t rows, int64_t channels, int threads, int relu, const Number* x, const float* scale,
                                const float* shift, const Number* residual, Number* y) {
    const Rows r = {rows, channels};
    Aligned s(r.lines()), t(r.lines());
    std::memcpy(s.data, scale, channels * sizeof(float));
    std::memcpy(t.data, shift, channels * sizeof(float));
    threads = parts(threads, rows);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int p = 0; p < threads; p++)
        apply(r, x, residual, relu, s.data, t.data, p * rows / threads, (p + 1) * rows / threads, y);
}

// With relu `y`, or `factors` where there was no residual; `dresidual`, `dgamma` and `dbeta` may be null.
template <typename Number>
void backward(int64_t rows, int64_t channels, int threads, int relu, const Number* dy, const Number* x,
                                   const Number* y, const float* factors, const float* gamma, const float* mean,
                                   const float* inverse, Number* dx,
                                   Number* dresidual, float* dgamma, float* dbeta) {
    const Rows r = {rows, channels};
    const int64_t lines = r.lines();
    threads = parts(threads, rows);
    Aligned all(threads * 2 * lines), factor(lines), offset(lines), slope(lines), center(lines);
    std::fill_n(all.data, threads * 2 * lines, 0.0f);
    std::memcpy(center.data, mean, channels * sizeof(float));
    Aligned scale(lines), shift(lines);
    if (factors) {
        std::memcpy(scale.data, factors, channels * sizeof(float));
        std::memcpy(shift.data, factors + channels, channels * sizeof(float));
    }
#pragma omp parallel num_threads(threads)
    {
        const FlushDenormals flush;
#pragma omp for schedule(static, 1)
        for (int p = 0; p < threads; p++) {
            const int64_t first = p * rows / threads, last = (p + 1) * rows / threads;
            float *sum = all.data + p * 2 * lines, *product = sum + lines;
            const float *s = scale.data, *t = shift.data;
            if (!relu) sums_back<ALL>(r, dy, x, y, s, t, center.data, first, last, sum, product);
            else if (y) sums_back<READ>(r, dy, x, y, s, t, center.data, first, last, sum, product);
            else sums_back<AGAIN>(r, dy, x, y, s, t, center.data, first, last, sum, product);
        }
#pragma omp single
        for (int64_t c = 0; c < channels; c++) {
            double sum = 0, product = 0;
            for (int p = 0; p < threads; p++) sum += all.data[p * 2 * lines + c], product += all.data[(p * 2 + 1) * lines + c];
            const double inv = inverse[c];
            if (dbeta) dbeta[c] = (float)sum;
            if (dgamma) dgamma[c] = (float)(product * inv);
            factor.data[c] = (float)(inv * (gamma ? gamma[c] : 1.0f));
            offset.data[c] = (float)(sum / (double)rows);
            slope.data[c] = (float)(product * inv * inv / (double)rows);
        }
#pragma omp for schedule(static, 1)
        for (int p = 0; p < threads; p++) {
            const int64_t first = p * rows / threads, last = (p + 1) * rows / threads;
            const auto run = [&](auto f) {
                f(r, dy, x, y, scale.data, shift.data, center.data, factor.data, offset.data, slope.data, first, last, dx, dresidual);
            };
            if (!relu) run(gradient<ALL, Number>);
            else if (y) run(gradient<READ, Number>);
            else run(gradient<AGAIN, Number>);
        }
    }
}
}  // namespace

extern "C" {

void lamina_normalization_forward(int64_t rows, int64_t channels, int threads, int is_short, float epsilon, int relu, const void* x,
                                  const float* gamma, const float* beta, const void* residual, void* y, float* mean,
                                  float* inverse, float* factors) {
    if (is_short)
        forward(rows, channels, threads, epsilon, relu, (const brief*)x, gamma, beta, (const brief*)residual, (brief*)y, mean,
                inverse, factors);
    else
        forward(rows, channels, threads, epsilon, relu, (const float*)x, gamma, beta, (const float*)residual, (float*)y, mean,
                inverse, factors);
}

void lamina_normalization_apply(int64_t rows, int64_t channels, int threads, int is_short, int relu, const void* x,
                                const float* scale, const float* shift, const void* residual, void* y) {
    if (is_short) scaled(rows, channels, threads, relu, (const brief*)x, scale, shift, (const brief*)residual, (brief*)y);
    else scaled(rows, channels, threads, relu, (const float*)x, scale, shift, (const float*)residual, (float*)y);
}

void lamina_normalization_backward(int64_t rows, int64_t channels, int threads, int is_short, int relu, const void* dy,
                                   const void* x, const void* y, const float* factors, const float* gamma, const float* mean,
                                   const float* inverse, void* dx, void* dresidual, float* dgamma, float* dbeta) {
    if (is_short)
        backward(rows, channels, threads, relu, (const brief*)dy, (const brief*)x, (const brief*)y, factors, gamma, mean,
                 inverse, (brief*)dx, (brief*)dresidual, dgamma, dbeta);
    else
        backward(rows, channels, threads, relu, (const float*)dy, (const float*)x, (const float*)y, factors, gamma, mean,
                 inverse, (float*)dx, (float*)dresidual, dgamma, dbeta);
}
}
