// Activations that a kernel computes by the way, by the numbers that kernels/images.py gives them.
#pragma once

#include "vector.h"

enum Activation { NONE = 0, RELU = 1, SIGMOID = 2, TANH = 3 };

INLINE vec activate(vec x, int kind) {
    switch (kind) {
        case RELU: return x < 0.0f ? vec{} : x;
        case SIGMOID: return sigmoid(x);
        case TANH: return hyperbolic_tangent(x);
        default: return x;
    }
}

// The gradient before an activation, from the one behind it and the value behind it.
INLINE vec deactivate(vec gradient, vec y, int kind) {
    switch (kind) {
        case RELU: return y > 0.0f ? gradient : vec{};
        case SIGMOID: return gradient * y * (1.0f - y);
        case TANH: return gradient * (1.0f - y * y);
        default: return gradient;
    }
}
