// The product of a dense layer with its bias and activation, and its three gradients. float32.
//
// Columns are shared out among the threads in panels of two vectors. A panel of the kernel is laid out for the cache right
// before it is used, whichever way the kernel lies in memory, and a tile of rows by the panel stays in registers.
//
// Shapes: M rows, K inputs, N units.
#include <omp.h>

#include <algorithm>

#include "activation.h"
#include "vector.h"

namespace {

#if defined(__AVX512F__)
constexpr int ROWS = 12;
#else
constexpr int ROWS = 6;
#endif
constexpr int PANEL = 2 * LANES;

// A square of LANES x LANES numbers turned round: each step deals two halves out alternately.
INLINE void turn(vec (&a)[LANES]) {
    ivec low = {}, high = {};
    for (int i = 0; i < LANES; i++) {
        low[i] = i / 2 + (i % 2) * LANES;
        high[i] = LANES / 2 + i / 2 + (i % 2) * LANES;
    }
    UNROLL for (int step = 1; step < LANES; step *= 2) {
        vec b[LANES];
        UNROLL for (int i = 0; i < LANES / 2; i++) {
            b[2 * i] = __builtin_shuffle(a[i], a[i + LANES / 2], low);
            b[2 * i + 1] = __builtin_shuffle(a[i], a[i + LANES / 2], high);
        }
        UNROLL for (int i = 0; i < LANES; i++) a[i] = b[i];
    }
}

// Rows 0 to `rows` and columns `first` to `first + PANEL` of a matrix, as (rows, PANEL); zeros behind the last column.
void lay_out(const float* matrix, int64_t row, int64_t column, int64_t rows, int64_t first, int64_t columns, float* panel) {
    const int64_t count = std::min<int64_t>(PANEL, columns - first);
    const float* from = matrix + first * column;
    int64_t r = 0;
    if (row == 1 && count == PANEL) {
        for (; r + LANES <= rows; r += LANES)
            UNROLL for (int half = 0; half < 2; half++) {
                vec square[LANES];
                UNROLL for (int i = 0; i < LANES; i++) square[i] = load(from + r + (half * LANES + i) * column);
                turn(square);
                UNROLL for (int i = 0; i < LANES; i++) store(panel + (r + i) * PANEL + half * LANES, square[i]);
            }
    }
    for (; r < rows; r++) {
        if (column == 1 && count == PANEL) {
            std::memcpy(panel + r * PANEL, from + r * row, PANEL * sizeof(float));
            continue;
        }
        for (int64_t c = 0; c < PANEL; c++) panel[r * PANEL + c] = c < count ? from[r * row + c * column] : 0.0f;
    }
}

// sums[r] = rows[r] @ panel
template <int R>
INLINE void tile(const float* rows, int64_t stride, const float* panel, int64_t depth, vec (&sums)[R][2]) {
    UNROLL for (int r = 0; r < R; r++) sums[r][0] = sums[r][1] = vec{};
    const int64_t stride3 = 3 * stride;
    for (int64_t k = 0; k < depth; k++) {
        const vec w0 = load(panel + k * PANEL), w1 = load(panel + k * PANEL + LANES);
        const float* q = rows + k;
        UNROLL for (int r = 0; r < R; r += 4) {
            UNROLL for (int i = 0; i < 4; i++)
                if (r + i < R) {
                    const vec a = splat(i == 3 ? q[stride3] : q[i * stride]);
                    sums[r + i][0] += a * w0;
                    sums[r + i][1] += a * w1;
                }
            q += 4 * stride;
        }
    }
}

// The columns of one panel of the product, of all rows.
template <typename Store>
void panel_product(const float* rows, int64_t stride, int64_t count, const float* panel, int64_t depth, Store store_tile) {
    int64_t m = 0;
#define STEP(R) \
    for (; m + R <= count; m += R) { \
        vec sums[R][2]; \
        tile<R>(rows + m * stride, stride, panel, depth, sums); \
        UNROLL for (int r = 0; r < R; r++) store_tile(m + r, sums[r][0], sums[r][1]); \
    }
    STEP(ROWS) STEP(4) STEP(2) STEP(1)
#undef STEP
}

// sums[r] += a[m][r] * panel[m] over all m, for R columns of `a`
template <int R>
void outer(const float* a, int64_t stride, const float* panel, int64_t count, float* result, int64_t row, int64_t column,
           int64_t valid) {
    vec sums[R][2];
    UNROLL for (int r = 0; r < R; r++) sums[r][0] = sums[r][1] = vec{};
    for (int64_t m = 0; m < count; m++) {
        const vec w0 = load(panel + m * PANEL), w1 = load(panel + m * PANEL + LANES);
        UNROLL for (int r = 0; r < R; r++) {
            const vec s = splat(a[m * stride + r]);
            sums[r][0] += s * w0;
            sums[r][1] += s * w1;
        }
    }
    UNROLL for (int r = 0; r < R; r++) {
        if (column == 1) {
            store_part(result + r * row, sums[r][0], (int)std::min<int64_t>(LANES, valid));
            if (valid > LANES) store_part(result + r * row + LANES, sums[r][1], (int)(valid - LANES));
            continue;
        }
        float lanes[PANEL];
        store(lanes, sums[r][0]);
        store(lanes + LANES, sums[r][1]);
        for (int64_t c = 0; c < valid; c++) result[r * row + c * column] = lanes[c];
    }
}

int parts(int threads, int64_t work) { return (int)std::max<int64_t>(1, std::min<int64_t>(threads, work)); }

}  // namespace

extern "C" {

// How many floats `lamina_product_lay_out` writes.
int64_t lamina_product_size(int64_t k, int64_t n) { return (n + PANEL - 1) / PANEL * PANEL * k; }

// The kernel (K, N) with any strides as `lamina_product_forward` meets it, for calls to come with the same one.
void lamina_product_lay_out(int64_t k, int64_t n, int threads, const float* kernel, int64_t kernel_row, int64_t kernel_column,
                            float* panels) {
    const int64_t count = (n + PANEL - 1) / PANEL;
#pragma omp parallel for num_threads(parts(threads, count)) schedule(static)
    for (int64_t p = 0; p < count; p++) lay_out(kernel, kernel_row, kernel_column, k, p * PANEL, n, panels + p * k * PANEL);
}

// y (M, N) = activation(x @ kernel + bias); x (M, K) with rows of stride K, kernel (K, N) with any strides; bias may be null,
// and so may what `lamina_product_lay_out` made of the kernel.
void lamina_product_forward(int64_t m, int64_t k, int64_t n, int activation, int threads, const float* x, const float* kernel,
                            int64_t kernel_row, int64_t kernel_column, const float* bias, float* y, const float* laid_out) {
    const int64_t panels = (n + PANEL - 1) / PANEL;
    threads = parts(threads, panels);
#pragma omp parallel num_threads(threads)
    {
        const FlushDenormals flush;
        Aligned own(laid_out ? 1 : k * PANEL);
#pragma omp for schedule(static)
        for (int64_t p = 0; p < panels; p++) {
            const float* panel = laid_out ? laid_out + p * k * PANEL : own.data;
            if (!laid_out) lay_out(kernel, kernel_row, kernel_column, k, p * PANEL, n, own.data);
            const int first = (int)std::min<int64_t>(LANES, n - p * PANEL), second = (int)std::min<int64_t>(LANES, n - p * PANEL - LANES);
            const vec b0 = bias ? load_part(bias + p * PANEL, first) : vec{};
            const vec b1 = bias && second > 0 ? load_part(bias + p * PANEL + LANES, second) : vec{};
            panel_product(x, k, m, panel, k, [&](int64_t row, vec a, vec b) {
                float* to = y + row * n + p * PANEL;
                store_part(to, activate(a + b0, activation), first);
                if (second > 0) store_part(to + LANES, activate(b + b1, activation), second);
            });
        }
    }
}

// dx (M, K), dkernel (with strides) and dbias may be null; y is what came out, read where there is an activation.
void lamina_product_backward(int64_t m, int64_t k, int64_t n, int activation, int threads, const float* x, const float* kernel,
                             int64_t kernel_row, int64_t kernel_column, const float* y, const float* dy, float* dx,
                             float* dkernel, int64_t gradient_row, int64_t gradient_column, float* dbias) {
    const FlushDenormals flush;
    Aligned before(activation ? m * n : 1);
    const int64_t panels = (k + PANEL - 1) / PANEL;
    threads = parts(threads, panels);
    const float* g = activation ? before.data : dy;
#pragma omp parallel num_threads(threads)
    {
        const FlushDenormals own;
        Aligned panel(std::max(m, n) * PANEL);
        if (activation) {
#pragma omp for schedule(static)
            for (int64_t row = 0; row < m; row++)
                for (int64_t c = 0; c < n; c += LANES) {
                    const int valid = (int)std::min<int64_t>(LANES, n - c);
                    store_part(before.data + row * n + c,
                               deactivate(load_part(dy + row * n + c, valid), load_part(y + row * n + c, valid), activation), valid);
                }
        }
        if (dbias) {
#pragma omp for schedule(static) nowait
            for (int64_t c = 0; c < n; c += LANES) {
                const int valid = (int)std::min<int64_t>(LANES, n - c);
                vec total = {};
                for (int64_t row = 0; row < m; row++) total += load_part(g + row * n + c, valid);
                store_part(dbias + c, total, valid);
            }
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t p = 0; p < panels; p++) {
            const int64_t first = p * PANEL, valid = std::min<int64_t>(PANEL, k - first);
            if (dkernel) {
                lay_out(x, k, 1, m, first, k, panel.data);
                float* to = dkernel + first * gradient_row;
                int64_t u = 0;
#define STEP(R) \
    for (; u + R <= n; u += R) outer<R>(g + u, n, panel.data, m, to + u * gradient_column, gradient_column, gradient_row, valid);
                STEP(ROWS) STEP(4) STEP(1)
#undef STEP
            }
            if (dx) {
                lay_out(kernel, kernel_column, kernel_row, n, first, k, panel.data);
                panel_product(g, n, m, panel.data, n, [&](int64_t row, vec a, vec b) {
                    float* to = dx + row * k + first;
                    store_part(to, a, (int)std::min<int64_t>(LANES, valid));
                    if (valid > LANES) store_part(to + LANES, b, (int)(valid - LANES));
                });
            }
        }
    }
}
}
