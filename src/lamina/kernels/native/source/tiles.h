// Intel's matrix registers (AMX): eight tiles of 16 rows by 64 bytes, and products of bfloat16 between them.
#pragma once

#include "vector.h"

#if HAS_SHORT && defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__linux__)
#define HAS_TILES 1
#include <sys/syscall.h>
#include <unistd.h>

// The system lends the registers to a process that asks, once.
static inline bool tiles_allowed() {
    static const bool allowed = syscall(SYS_arch_prctl, 0x1023, 18) == 0;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return allowed;
}

// While one lives, this thread has the registers, all of full size.
struct Tiles {
    Tiles() {
        struct alignas(64) {
            uint8_t palette, start;
            uint8_t reserved[14];
            uint16_t bytes[16];
            uint8_t rows[16];
        } layout = {};
        layout.palette = 1;
        for (int i = 0; i < 8; i++) layout.bytes[i] = 64, layout.rows[i] = 16;
        _tile_loadconfig(&layout);
    }
    ~Tiles() { _tile_release(); }
};

// Tiles 0 to 3 += two tiles of rows by two tiles of columns. `rows` (32, depth), `columns` (depth / 2, ..., 2); strides in
// numbers of 16 bits; `second` and `next` lead to the other tile of rows and of columns.
INLINE void tile_products(const brief* rows, int64_t row_stride, int64_t second, const brief* columns, int64_t column_stride,
                          int64_t next) {
    _tile_loadd(4, rows, row_stride * 2);
    _tile_loadd(5, rows + second, row_stride * 2);
    _tile_loadd(6, columns, column_stride * 2);
    _tile_loadd(7, columns + next, column_stride * 2);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}
INLINE void tile_zeros() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}
// Tiles 0 to 3 from and to (32, 32) numbers in memory; `second` leads to rows 16 to 31.
INLINE void tile_sums(const float* p, int64_t stride, int64_t second) {
    _tile_loadd(0, p, stride * 4);
    _tile_loadd(1, p + 16, stride * 4);
    _tile_loadd(2, p + second, stride * 4);
    _tile_loadd(3, p + second + 16, stride * 4);
}
INLINE void tile_store(float* p, int64_t stride, int64_t second) {
    _tile_stored(0, p, stride * 4);
    _tile_stored(1, p + 16, stride * 4);
    _tile_stored(2, p + second, stride * 4);
    _tile_stored(3, p + second + 16, stride * 4);
}
#else
#define HAS_TILES 0
static inline bool tiles_allowed() { return false; }
#endif
