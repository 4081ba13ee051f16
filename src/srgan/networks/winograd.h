// Winograd's convolutions of stride 1: Lavin and Gray 2016 (arXiv:1509.09308), with the points 0, 1,
// -1, 2, -2, 1/2, -1/2 and infinity: F(6x6, 3x3), padding 1, and F(4x4, 5x5), padding 2. Training
// (winograd.cpp) and upscaling (../engines/native.cpp) share it. Pictures are float32, N x H x W x C:
// C is what lies side by side.
//
// A tile is M x M places of the output, M = 6 or 4. With d the 8 x 8 places around it and g a
// kernel, the tile is A^T ((B^T d B) * (G g G^T)) A: 64 products for each pair of channels, which
// are 64 products of matrices over all tiles, where the direct way has 324 or 400.

#pragma once

#include <cstdint>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int64_t LANES = 16, VECTORS = 4;
#else
constexpr int64_t LANES = 8, VECTORS = 2;
#endif
constexpr int64_t ROWS = 6;  // with VECTORS, the product that stays in registers
constexpr int64_t SIDE = 8, POINTS = SIDE * SIDE;
constexpr int64_t BLOCK = 24;  // tiles at once: their values stay in the cache

typedef float Vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }

// c[i][j] (+)= sum over k of a[i * row + k * step] * b[k][j], of R rows i and V * LANES columns j.
template <int64_t R, int64_t V>
inline void multiply_rows(const float* a, int64_t row, int64_t step, const float* b, float* c,
                          int64_t columns, int64_t depth, bool add) {
  Vector sum[R][V];
  for (int64_t i = 0; i < R; ++i)
    for (int64_t v = 0; v < V; ++v) sum[i][v] = add ? load(c + i * columns + v * LANES) : Vector{};
  for (int64_t k = 0; k < depth; ++k) {
    Vector right[V];
    for (int64_t v = 0; v < V; ++v) {
      right[v] = load(b + k * columns + v * LANES);
      asm("" : "+v"(right[v]));  // into a register: GCC would load it again for every row
    }
    for (int64_t i = 0; i < R; ++i) {
      const float left = a[i * row + k * step];
      for (int64_t v = 0; v < V; ++v) sum[i][v] += left * right[v];
    }
  }
  for (int64_t i = 0; i < R; ++i)
    for (int64_t v = 0; v < V; ++v) store(c + i * columns + v * LANES, sum[i][v]);
}

// Of fewer vectors more rows stay in registers: enough sums that none waits for another.
template <int64_t V>
void multiply_columns(const float* a, int64_t row, int64_t step, const float* b, float* c,
                      int64_t rows, int64_t columns, int64_t depth, bool add) {
  constexpr int64_t most = ROWS * VECTORS / V;
  for (int64_t j = 0; j < columns; j += V * LANES) {
    int64_t i = 0;
    for (; i + most <= rows; i += most)
      multiply_rows<most, V>(a + i * row, row, step, b + j, c + i * columns + j, columns, depth,
                             add);
    for (; i + ROWS <= rows; i += ROWS)
      multiply_rows<ROWS, V>(a + i * row, row, step, b + j, c + i * columns + j, columns, depth,
                             add);
    const float* rest = a + i * row;
    float* to = c + i * columns + j;
    switch (rows - i) {
      case 1: multiply_rows<1, V>(rest, row, step, b + j, to, columns, depth, add); break;
      case 2: multiply_rows<2, V>(rest, row, step, b + j, to, columns, depth, add); break;
      case 3: multiply_rows<3, V>(rest, row, step, b + j, to, columns, depth, add); break;
      case 4: multiply_rows<4, V>(rest, row, step, b + j, to, columns, depth, add); break;
      case 5: multiply_rows<5, V>(rest, row, step, b + j, to, columns, depth, add); break;
    }
  }
}

void multiply(const float* a, int64_t row, int64_t step, const float* b, float* c, int64_t rows,
              int64_t columns, int64_t depth, bool add) {
  if (columns % (VECTORS * LANES) == 0)
    multiply_columns<VECTORS>(a, row, step, b, c, rows, columns, depth, add);
  else if (columns % (2 * LANES) == 0)
    multiply_columns<2>(a, row, step, b, c, rows, columns, depth, add);
  else
    multiply_columns<1>(a, row, step, b, c, rows, columns, depth, add);
}

// Pictures in memory: the places of a row lie `across` floats apart, rows `down`, and a place's
// channels side by side.
struct Pictures {
  int64_t count, height, width, channels, across, down;

  Pictures(int64_t count, int64_t height, int64_t width, int64_t channels)  // without gaps
      : count(count), height(height), width(width), channels(channels), across(channels),
        down(width * channels) {}
};

// The tiles of M x M places of pictures; those at lower and right edges may reach beyond.
template <int64_t M>
struct Tiles {
  Pictures of;
  int64_t down, across, count;

  explicit Tiles(const Pictures& of)
      : of(of), down((of.height + M - 1) / M), across((of.width + M - 1) / M),
        count(of.count * down * across) {}

  // Where the M x M places of a tile begin: a picture, a row and a column.
  struct Corner {
    int64_t picture, top, left;
  };

  Corner corner(int64_t tile) const {
    const int64_t rest = tile % (down * across);
    return {tile / (down * across), rest / across * M, rest % across * M};
  }

  // Of a tile, `side` x `side` places from `before` above and left of it: calls
  // place(number, offset of the place in memory, or -1 outside).
  template <int64_t side, int64_t before, typename Place>
  void places(const Corner& corner, const Place& place) const {
    const int64_t top = corner.top - before, left = corner.left - before;
    const int64_t begin = (corner.picture * of.height + top) * of.down + left * of.across;
    const bool whole = top >= 0 && left >= 0 && top + side <= of.height && left + side <= of.width;
    if (whole) {
      for (int64_t i = 0; i < side; ++i)
        for (int64_t j = 0; j < side; ++j) place(i * side + j, begin + i * of.down + j * of.across);
      return;
    }
    for (int64_t i = 0; i < side; ++i)
      for (int64_t j = 0; j < side; ++j) {
        const int64_t y = top + i, x = left + j;
        const bool inside = y >= 0 && y < of.height && x >= 0 && x < of.width;
        place(i * side + j, inside ? begin + i * of.down + j * of.across : -1);
      }
  }
};

// The transforms of a row or column, whose places lie `in` apart, to `out` apart.

// The values at a point and at its negative, from the even and the odd part.
inline void put_pairs(Vector even, Vector odd, Vector* result, int64_t out) {
  result[0] = even + odd;
  result[out] = even - odd;
}

inline void input_transform(const Vector* d, int64_t in, Vector* result, int64_t out) {  // B^T d
  const Vector d1 = d[in], d2 = d[2 * in], d3 = d[3 * in], d4 = d[4 * in], d5 = d[5 * in],
               d6 = d[6 * in];
  const Vector even1 = d2 + d6 - 4.25f * d4, odd1 = d1 + d5 - 4.25f * d3;
  const Vector even2 = d6 + 0.25f * d2 - 1.25f * d4, odd2 = 0.5f * d1 - 2.5f * d3 + 2.f * d5;
  const Vector even3 = d6 + 4.f * d2 - 5.f * d4, odd3 = 2.f * d1 - 2.5f * d3 + 0.5f * d5;
  result[0] = d[0] - d6 + 5.25f * (d4 - d2);
  put_pairs(even1, odd1, result + out, out);
  put_pairs(even2, odd2, result + 3 * out, out);
  put_pairs(even3, odd3, result + 5 * out, out);
  result[7 * out] = d[7 * in] - d1 + 5.25f * (d3 - d5);
}

template <int64_t M>
inline void output_transform(const Vector* m, int64_t in, Vector* result, int64_t out) {  // A^T m
  const Vector m1 = m[in], m2 = m[2 * in], m3 = m[3 * in], m4 = m[4 * in], m5 = m[5 * in],
               m6 = m[6 * in];
  const Vector even1 = m1 + m2, odd1 = m1 - m2, even2 = m3 + m4, odd2 = m3 - m4;
  const Vector even3 = m5 + m6, odd3 = m5 - m6;
  result[0] = m[0] + even1 + even2 + even3;
  result[out] = odd1 + 2.f * odd2 + 0.5f * odd3;
  result[2 * out] = even1 + 4.f * even2 + 0.25f * even3;
  result[3 * out] = odd1 + 8.f * odd2 + 0.125f * odd3;
  if constexpr (M == 6) {
    result[4 * out] = even1 + 16.f * even2 + 0.0625f * even3;
    result[5 * out] = odd1 + 32.f * odd2 + 0.03125f * odd3;
  }
  result[(M - 1) * out] += m[7 * in];
}

// Floats from the values of a point to those of the next, of so many tiles: a cache line more than
// they take, since multiples of 2 KB would fall on the same few lines of the cache.
inline int64_t point_step(int64_t tiles, int64_t channels) { return tiles * channels + 16; }

// Of tiles [first, last), the `side` x `side` places from `before` above and left of each to
// points[64][tile][channel], by `transform` along columns and rows. A tile's values lie `row` floats
// apart: more than its channels where another picture's follow.
template <int64_t side, int64_t before, int64_t M, typename Transform>
void transform_places(const float* picture, const Tiles<M>& tiles, int64_t first, int64_t last,
                      const Transform& transform, float* points, int64_t row) {
  const int64_t channels = tiles.of.channels, step = point_step(last - first, row);
  for (int64_t tile = first; tile < last; ++tile) {
    const auto corner = tiles.corner(tile);
    for (int64_t c = 0; c < channels; c += LANES) {
      Vector d[POINTS], half[POINTS];
      tiles.template places<side, before>(corner, [&](int64_t number, int64_t at) {
        d[number] = at < 0 ? Vector{} : load(picture + at + c);
      });
      for (int64_t j = 0; j < side; ++j) transform(d + j, side, half + j, side);
      for (int64_t i = 0; i < SIDE; ++i) transform(half + side * i, 1, d + SIDE * i, 1);
      float* to = points + (tile - first) * row + c;
      for (int64_t point = 0; point < POINTS; ++point) store(to + point * step, d[point]);
    }
  }
}

// B^T d B of the 8 x 8 places around each tile of a picture.
template <int64_t M>
void transform_inputs(const float* picture, const Tiles<M>& tiles, int64_t first, int64_t last,
                      float* points, int64_t row) {
  transform_places<SIDE, (SIDE - M) / 2>(picture, tiles, first, last, input_transform, points, row);
}

// points[64][tile][channel] m to A^T m A, the M x M places of tiles [first, last): calls
// put(offset of the place in memory, channel, values of LANES channels).
template <int64_t M, typename Put>
void transform_outputs(const float* points, const Tiles<M>& tiles, int64_t first, int64_t last,
                       const Put& put) {
  const int64_t channels = tiles.of.channels, step = point_step(last - first, channels);
  for (int64_t tile = first; tile < last; ++tile) {
    const auto corner = tiles.corner(tile);
    for (int64_t c = 0; c < channels; c += LANES) {
      Vector m[POINTS], half[M * SIDE];
      const float* from = points + (tile - first) * channels + c;
      for (int64_t point = 0; point < POINTS; ++point) m[point] = load(from + point * step);
      for (int64_t j = 0; j < SIDE; ++j) output_transform<M>(m + j, SIDE, half + j, SIDE);
      for (int64_t i = 0; i < M; ++i) output_transform<M>(half + SIDE * i, 1, m + M * i, 1);
      tiles.template places<M, 0>(corner, [&](int64_t number, int64_t at) {
        if (at >= 0) put(at, c, m[number]);
      });
    }
  }
}

// y = x * kernels of tiles [first, last): `in` are the transformed x, [64][tile][inputs], `points` the
// transformed kernels, [64][inputs][outputs], and `out` has room for 64 values of each tile and
// output. See `transform_outputs` for put.
template <int64_t M, typename Put>
void multiply_points(const float* in, int64_t inputs, const float* points, const Tiles<M>& to,
                     int64_t first, int64_t last, float* out, const Put& put) {
  const int64_t outputs = to.of.channels, count = last - first;
  for (int64_t point = 0; point < POINTS; ++point)
    multiply(in + point * point_step(count, inputs), inputs, 1, points + point * inputs * outputs,
             out + point * point_step(count, outputs), count, outputs, inputs, false);
  transform_outputs(out, to, first, last, put);
}

// L m L^T of LANES matrices m, places x places, whose values lie side by side and `size` floats from
// place to place; L is rows x places, neither more than 8. The result is rows x rows.
inline void transform_matrices(const float* from, const float* left, int64_t rows, int64_t places,
                               int64_t size, float* to) {
  Vector half[POINTS];
  for (int64_t j = 0; j < places; ++j) {
    Vector column[SIDE];
    for (int64_t i = 0; i < places; ++i) column[i] = load(from + (i * places + j) * size);
    for (int64_t p = 0; p < rows; ++p) {
      Vector sum{};
      for (int64_t i = 0; i < places; ++i) sum += left[p * places + i] * column[i];
      half[p * places + j] = sum;
    }
  }
  for (int64_t p = 0; p < rows; ++p)
    for (int64_t q = 0; q < rows; ++q) {
      Vector sum{};
      for (int64_t j = 0; j < places; ++j) sum += left[q * places + j] * half[p * places + j];
      store(to + (p * rows + q) * size, sum);
    }
}

// Room for `size` floats, kept for the next time. It begins at a cache line: a register that lies
// across two makes `multiply` take twice the time.
inline float* memory(std::vector<float>& kept, int64_t size) {
  constexpr int64_t LINE = 16;
  if (static_cast<int64_t>(kept.size()) < size + LINE) kept.resize(size + LINE);
  const int64_t beyond = reinterpret_cast<uintptr_t>(kept.data()) / sizeof(float) % LINE;
  return kept.data() + (LINE - beyond) % LINE;
}

}  // namespace
