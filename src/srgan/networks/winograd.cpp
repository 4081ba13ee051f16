// Convolutions of stride 1 by Winograd's algorithm: Lavin and Gray 2016 (arXiv:1509.09308), with
// the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity: F(6x6, 3x3), padding 1, and F(4x4, 5x5),
// padding 2. winograd.py compiles and calls it. Pictures are float32, N x C x H x W in
// channels_last memory: C is what lies side by side.
//
// A tile is M x M places of the output, M = 6 or 4. With d the 8 x 8 places around it and g a
// kernel, the tile is A^T ((B^T d B) * (G g G^T)) A: 64 products for each pair of channels, which
// are 64 products of matrices over all tiles, where the direct way has 324 or 400.

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
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
    for (int64_t v = 0; v < V; ++v) right[v] = load(b + k * columns + v * LANES);
    for (int64_t i = 0; i < R; ++i) {
      const float left = a[i * row + k * step];
      for (int64_t v = 0; v < V; ++v) sum[i][v] += left * right[v];
    }
  }
  for (int64_t i = 0; i < R; ++i)
    for (int64_t v = 0; v < V; ++v) store(c + i * columns + v * LANES, sum[i][v]);
}

template <int64_t V>
void multiply_columns(const float* a, int64_t row, int64_t step, const float* b, float* c,
                      int64_t rows, int64_t columns, int64_t depth, bool add) {
  for (int64_t j = 0; j < columns; j += V * LANES) {
    int64_t i = 0;
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
  else
    multiply_columns<1>(a, row, step, b, c, rows, columns, depth, add);
}

// The tiles of M x M places of a picture; those at its lower and right edges may reach beyond.
template <int64_t M>
struct Tiles {
  int64_t height, width, channels, down, across, count;

  explicit Tiles(const at::Tensor& picture)
      : height(picture.size(2)), width(picture.size(3)), channels(picture.size(1)),
        down((height + M - 1) / M), across((width + M - 1) / M),
        count(picture.size(0) * down * across) {}

  // Of a tile, `side` x `side` places from `before` above and left of it: calls
  // place(number, offset of the place in the picture, or -1 outside).
  template <int64_t side, int64_t before, typename Place>
  void places(int64_t tile, const Place& place) const {
    const int64_t n = tile / (down * across), rest = tile % (down * across);
    const int64_t top = rest / across * M - before, left = rest % across * M - before;
    for (int64_t i = 0; i < side; ++i)
      for (int64_t j = 0; j < side; ++j) {
        const int64_t y = top + i, x = left + j;
        const bool inside = y >= 0 && y < height && x >= 0 && x < width;
        place(i * side + j, inside ? ((n * height + y) * width + x) * channels : -1);
      }
  }
};

// The transforms of a row or column, whose places lie `in` apart, to `out` apart.

inline void input_transform(const Vector* d, int64_t in, Vector* result, int64_t out) {  // B^T d
  const Vector d1 = d[in], d2 = d[2 * in], d3 = d[3 * in], d4 = d[4 * in], d5 = d[5 * in],
               d6 = d[6 * in];
  const Vector even1 = d2 + d6 - 4.25f * d4, odd1 = d1 + d5 - 4.25f * d3;
  const Vector even2 = d6 + 0.25f * d2 - 1.25f * d4, odd2 = 0.5f * d1 - 2.5f * d3 + 2.f * d5;
  const Vector even3 = d6 + 4.f * d2 - 5.f * d4, odd3 = 2.f * d1 - 2.5f * d3 + 0.5f * d5;
  result[0] = d[0] - d6 + 5.25f * (d4 - d2);
  result[out] = even1 + odd1;
  result[2 * out] = even1 - odd1;
  result[3 * out] = even2 + odd2;
  result[4 * out] = even2 - odd2;
  result[5 * out] = even3 + odd3;
  result[6 * out] = even3 - odd3;
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

template <int64_t M>
inline void gradient_transform(const Vector* y, int64_t in, Vector* result, int64_t out) {  // A y
  const Vector y0 = y[0], y1 = y[in], y2 = y[2 * in], y3 = y[3 * in];
  Vector even1 = y0 + y2, odd1 = y1 + y3, even2 = y0 + 4.f * y2, odd2 = 2.f * y1 + 8.f * y3;
  Vector even3 = y0 + 0.25f * y2, odd3 = 0.5f * y1 + 0.125f * y3;
  if constexpr (M == 6) {
    const Vector y4 = y[4 * in], y5 = y[5 * in];
    even1 += y4, even2 += 16.f * y4, even3 += 0.0625f * y4;
    odd1 += y5, odd2 += 32.f * y5, odd3 += 0.03125f * y5;
  }
  result[0] = y0;
  result[out] = even1 + odd1;
  result[2 * out] = even1 - odd1;
  result[3 * out] = even2 + odd2;
  result[4 * out] = even2 - odd2;
  result[5 * out] = even3 + odd3;
  result[6 * out] = even3 - odd3;
  result[7 * out] = y[(M - 1) * in];
}

// Of tiles [first, last), the `side` x `side` places from `before` above and left of each to
// points[64][tile][channel], by `transform` along columns and rows.
template <int64_t side, int64_t before, int64_t M, typename Transform>
void transform_places(const float* picture, const Tiles<M>& tiles, int64_t first, int64_t last,
                      const Transform& transform, float* points) {
  const int64_t channels = tiles.channels, step = (last - first) * channels;
  for (int64_t tile = first; tile < last; ++tile)
    for (int64_t c = 0; c < channels; c += LANES) {
      Vector d[POINTS], half[POINTS];
      tiles.template places<side, before>(tile, [&](int64_t number, int64_t at) {
        d[number] = at < 0 ? Vector{} : load(picture + at + c);
      });
      for (int64_t j = 0; j < side; ++j) transform(d + j, side, half + j, side);
      for (int64_t i = 0; i < SIDE; ++i) transform(half + side * i, 1, d + SIDE * i, 1);
      float* to = points + (tile - first) * channels + c;
      for (int64_t point = 0; point < POINTS; ++point) store(to + point * step, d[point]);
    }
}

// B^T d B of the 8 x 8 places around each tile of a picture.
template <int64_t M>
void transform_inputs(const float* picture, const Tiles<M>& tiles, int64_t first, int64_t last,
                      float* points) {
  transform_places<SIDE, (SIDE - M) / 2>(picture, tiles, first, last, input_transform, points);
}

// A y A^T of the M x M places of each tile of a gradient.
template <int64_t M>
void transform_gradients(const float* gradient, const Tiles<M>& tiles, int64_t first, int64_t last,
                         float* points) {
  transform_places<M, 0>(gradient, tiles, first, last, gradient_transform<M>, points);
}

// points[64][tile][channel] m to A^T m A + bias, the M x M places of tiles [first, last).
template <int64_t M>
void transform_outputs(const float* points, const Tiles<M>& tiles, int64_t first, int64_t last,
                       const float* bias, float* picture) {
  const int64_t channels = tiles.channels, step = (last - first) * channels;
  for (int64_t tile = first; tile < last; ++tile)
    for (int64_t c = 0; c < channels; c += LANES) {
      Vector m[POINTS], half[M * SIDE];
      const float* from = points + (tile - first) * channels + c;
      for (int64_t point = 0; point < POINTS; ++point) m[point] = load(from + point * step);
      for (int64_t j = 0; j < SIDE; ++j) output_transform<M>(m + j, SIDE, half + j, SIDE);
      for (int64_t i = 0; i < M; ++i) output_transform<M>(half + SIDE * i, 1, m + M * i, 1);
      const Vector shift = bias ? load(bias + c) : Vector{};
      tiles.template places<M, 0>(tile, [&](int64_t number, int64_t at) {
        if (at >= 0) store(picture + at + c, m[number] + shift);
      });
    }
}

// Tiles that a thread takes at once, so that all threads have the same to do.
int64_t block_size(int64_t tiles) {
  const int64_t threads = at::get_num_threads();
  const int64_t share = std::max<int64_t>((tiles + threads - 1) / threads, 1);
  const int64_t blocks = (share + BLOCK - 1) / BLOCK;
  return (share + blocks - 1) / blocks;
}

float* memory(std::vector<float>& kept, int64_t size) {
  if (static_cast<int64_t>(kept.size()) < size) kept.resize(size);
  return kept.data();
}

void check_channels(int64_t inputs, int64_t outputs) {
  TORCH_CHECK(inputs % LANES == 0 && outputs % LANES == 0, "channels that fill no registers: ",
              inputs, " to ", outputs);
}

template <int64_t M>
void convolve_tiles(const at::Tensor& x, const at::Tensor& kernels, const float* bias,
                    at::Tensor& y) {
  const int64_t inputs = x.size(1), outputs = y.size(1);
  const Tiles<M> from(x), to(y);
  const int64_t size = block_size(from.count);
  at::parallel_for(0, (from.count + size - 1) / size, 1, [&](int64_t begin, int64_t end) {
    static thread_local std::vector<float> kept_in, kept_out;
    float* in = memory(kept_in, POINTS * size * inputs);
    float* out = memory(kept_out, POINTS * size * outputs);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * size, last = std::min(first + size, from.count);
      const int64_t count = last - first;
      transform_inputs(x.const_data_ptr<float>(), from, first, last, in);
      for (int64_t point = 0; point < POINTS; ++point)
        multiply(in + point * count * inputs, inputs, 1,
                 kernels.const_data_ptr<float>() + point * inputs * outputs,
                 out + point * count * outputs, count, outputs, inputs, false);
      transform_outputs(out, to, first, last, bias, y.mutable_data_ptr<float>());
    }
  });
}

// L m L^T of matrices m, places x places x C x K, by L, rows x places, neither more than 8:
// rows x rows x C x K.
at::Tensor transform_matrices(const at::Tensor& matrices, const at::Tensor& left) {
  const int64_t rows = left.size(0), places = left.size(1);
  const int64_t size = matrices.size(2) * matrices.size(3);
  at::Tensor result =
      at::empty({rows, rows, matrices.size(2), matrices.size(3)}, matrices.options());
  const float* factors = left.const_data_ptr<float>();
  at::parallel_for(0, size / LANES, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin * LANES; c < end * LANES; c += LANES) {
      const float* from = matrices.const_data_ptr<float>() + c;
      float* to = result.mutable_data_ptr<float>() + c;
      Vector half[POINTS];
      for (int64_t j = 0; j < places; ++j) {
        Vector column[SIDE];
        for (int64_t i = 0; i < places; ++i) column[i] = load(from + (i * places + j) * size);
        for (int64_t p = 0; p < rows; ++p) {
          Vector sum{};
          for (int64_t i = 0; i < places; ++i) sum += factors[p * places + i] * column[i];
          half[p * places + j] = sum;
        }
      }
      for (int64_t p = 0; p < rows; ++p)
        for (int64_t q = 0; q < rows; ++q) {
          Vector sum{};
          for (int64_t j = 0; j < places; ++j)
            sum += factors[q * places + j] * half[p * places + j];
          store(to + (p * rows + q) * size, sum);
        }
    }
  });
  return result;
}

// x N x C x H x W, kernels side x side x C x K with side 3 or 5, G 8 x side, bias K:
// y N x K x H x W.
at::Tensor convolve(const at::Tensor& x, const at::Tensor& kernels, const at::Tensor& transform,
                    const std::optional<at::Tensor>& bias) {
  const int64_t outputs = kernels.size(3);
  check_channels(x.size(1), outputs);
  const at::Tensor points = transform_matrices(kernels, transform);  // G g G^T
  at::Tensor y = at::empty({x.size(0), outputs, x.size(2), x.size(3)},
                           x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const float* shift = bias ? bias->const_data_ptr<float>() : nullptr;
  if (kernels.size(0) == 3)
    convolve_tiles<6>(x, points, shift, y);
  else
    convolve_tiles<4>(x, points, shift, y);
  return y;
}

// Every thread adds up what is its own: the same threads give the same bits.
template <int64_t M>
void add_gradients(const at::Tensor& x, const at::Tensor& gradient, at::Tensor& sums) {
  const int64_t threads = sums.size(0), inputs = x.size(1), outputs = gradient.size(1);
  const Tiles<M> from(x), to(gradient);
  const int64_t size = block_size(from.count);
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    static thread_local std::vector<float> kept_in, kept_out;
    float* in = memory(kept_in, POINTS * size * inputs);
    float* out = memory(kept_out, POINTS * size * outputs);
    for (int64_t part = begin; part < end; ++part) {
      float* sum = sums.mutable_data_ptr<float>() + part * POINTS * inputs * outputs;
      for (int64_t first = part * size; first < from.count; first += threads * size) {
        const int64_t last = std::min(first + size, from.count), count = last - first;
        transform_inputs(x.const_data_ptr<float>(), from, first, last, in);
        transform_gradients(gradient.const_data_ptr<float>(), to, first, last, out);
        for (int64_t point = 0; point < POINTS; ++point)
          multiply(in + point * count * inputs, 1, inputs, out + point * count * outputs,
                   sum + point * inputs * outputs, inputs, outputs, count, true);
      }
    }
  });
}

// The gradient of kernels, side x side x C x K, by x and the gradient of y; G 8 x side.
at::Tensor kernel_gradient(const at::Tensor& x, const at::Tensor& gradient,
                           const at::Tensor& transform) {
  const int64_t inputs = x.size(1), outputs = gradient.size(1);
  check_channels(inputs, outputs);
  at::Tensor sums = at::zeros({at::get_num_threads(), POINTS, inputs, outputs}, x.options());
  if (transform.size(1) == 3)
    add_gradients<6>(x, gradient, sums);
  else
    add_gradients<4>(x, gradient, sums);
  const at::Tensor points = sums.sum(0).view({SIDE, SIDE, inputs, outputs});
  return transform_matrices(points, transform.t().contiguous());  // G^T m G
}

}  // namespace

TORCH_LIBRARY(srgan_winograd, library) {
  library.def("convolve(Tensor x, Tensor kernels, Tensor transform, Tensor? bias) -> Tensor",
              convolve);
  library.def("kernel_gradient(Tensor x, Tensor gradient, Tensor transform) -> Tensor",
              kernel_gradient);
}
