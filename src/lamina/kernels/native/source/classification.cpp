// What a classifier ends in: softmax and cross-entropy of class numbers as one, and how often the largest score is right.
// float32; N rows of C scores.
#include <omp.h>

#include <algorithm>

#include "vector.h"

namespace {

constexpr int64_t SERIAL = 1 << 15;  // numbers up to which a second thread is not worth waking

int parts(int threads, int64_t rows, int64_t classes) {
    return rows * classes <= SERIAL ? 1 : (int)std::max<int64_t>(1, std::min<int64_t>(threads, rows));
}

// A NaN among them makes the sum of exponentials one, whatever this says.
float largest(const float* x, int64_t classes) {
    float most = x[0];
    int64_t c = 1;
    if (classes >= 4 * LANES) {
        vec best = load(x);
        for (c = LANES; c + LANES <= classes; c += LANES) best = larger(load(x + c), best);
        for (int i = 0; i < LANES; i++) most = best[i] > most ? best[i] : most;
    }
    for (; c < classes; c++) most = x[c] > most ? x[c] : most;
    return most;
}

// The logarithm of the sum of the exponentials, less the largest score.
double log_sum(const float* x, int64_t classes, float most) {
    vec total = {};
    int64_t c = 0;
    for (; c + LANES <= classes; c += LANES) total += exponential(load(x + c) - most);
    float rest = 0;
    if (c < classes) {
        float lanes[LANES];
        store(lanes, exponential(load_part(x + c, (int)(classes - c)) - most));
        for (int64_t i = 0; i < classes - c; i++) rest += lanes[i];
    }
    return __builtin_log((double)sum_of(total) + rest);
}

}  // namespace

extern "C" {

// The mean of log(sum(exp(x))) - x[label], and for the way back each row's largest score and what the logarithm is above it:
// apart, since beside a large score the rest of the sum would lose its digits. -1 if a label is no class.
int lamina_cross_entropy_forward(int64_t rows, int64_t classes, int threads, const float* x, const int64_t* labels, float* loss,
                                 float* logs) {
    for (int64_t r = 0; r < rows; r++)
        if (labels[r] < 0 || labels[r] >= classes) return -1;
    threads = parts(threads, rows, classes);
    double total = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : total)
    for (int64_t r = 0; r < rows; r++) {
        const float most = largest(x + r * classes, classes);
        const double log = log_sum(x + r * classes, classes, most);
        logs[2 * r] = most;
        logs[2 * r + 1] = (float)log;
        total += log + ((double)most - x[r * classes + labels[r]]);
    }
    *loss = (float)(total / (double)rows);
    return 0;
}

// dx = (softmax(x) - one_hot(label)) * gradient / rows
void lamina_cross_entropy_backward(int64_t rows, int64_t classes, int threads, const float* x, const int64_t* labels,
                                   const float* logs, const float* gradient, float* dx) {
    threads = parts(threads, rows, classes);
    const float factor = *gradient / (float)rows;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + r * classes, most = logs[2 * r], log = logs[2 * r + 1];
        float* to = dx + r * classes;
        for (int64_t c = 0; c < classes; c += LANES) {
            const int valid = (int)std::min<int64_t>(LANES, classes - c);
            store_part(to + c, exponential(load_part(from + c, valid) - most - log) * factor, valid);
        }
        to[labels[r]] -= factor;
    }
}

// y = exp(x) / sum(exp(x)) in each row
void lamina_softmax_forward(int64_t rows, int64_t classes, int threads, const float* x, float* y) {
    threads = parts(threads, rows, classes);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + r * classes, most = largest(from, classes);
        float *to = y + r * classes, rest = 0;
        vec total = {};
        int64_t c = 0;
        for (; c + LANES <= classes; c += LANES) {
            const vec e = exponential(load(from + c) - most);
            store(to + c, e);
            total += e;
        }
        if (c < classes) {
            store_part(to + c, exponential(load_part(from + c, (int)(classes - c)) - most), (int)(classes - c));
            for (int64_t i = c; i < classes; i++) rest += to[i];
        }
        const float factor = 1.0f / (sum_of(total) + rest);
        for (c = 0; c < classes; c += LANES) {
            const int valid = (int)std::min<int64_t>(LANES, classes - c);
            store_part(to + c, load_part(to + c, valid) * factor, valid);
        }
    }
}

// dx = (dy - sum(dy * y)) * y in each row
void lamina_softmax_backward(int64_t rows, int64_t classes, int threads, const float* y, const float* dy, float* dx) {
    threads = parts(threads, rows, classes);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        vec total = {};
        for (int64_t c = 0; c < classes; c += LANES) {
            const int valid = (int)std::min<int64_t>(LANES, classes - c);
            total += load_part(y + r * classes + c, valid) * load_part(dy + r * classes + c, valid);
        }
        const float dot = sum_of(total);
        for (int64_t c = 0; c < classes; c += LANES) {
            const int valid = (int)std::min<int64_t>(LANES, classes - c);
            const vec p = load_part(y + r * classes + c, valid);
            store_part(dx + r * classes + c, (load_part(dy + r * classes + c, valid) - dot) * p, valid);
        }
    }
}

// In how many rows the first of the largest scores is that of the label; a NaN counts as the largest, as in torch.
void lamina_matches(int64_t rows, int64_t classes, int threads, const float* x, const int64_t* labels, double* count) {
    threads = parts(threads, rows, classes);
    int64_t total = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : total)
    for (int64_t r = 0; r < rows; r++) {
        const float* row = x + r * classes;
        int64_t best = 0;
        for (int64_t c = 1; c < classes && row[best] == row[best]; c++)
            if (row[c] > row[best] || row[c] != row[c]) best = c;
        total += best == labels[r];
    }
    *count = (double)total;
}
}
