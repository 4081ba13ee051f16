// 3x3 convolutions, stride 1 and padding 1, by Winograd's F(4x4, 3x3): Lavin and Gray 2016
// (arXiv:1509.09308). winograd.py compiles and calls it. Pictures are float32, N x C x H x W in
// channels_last memory: C is what lies side by side.
//
// A tile is 4 x 4 places of the output. With d the 6 x 6 places around it and g a kernel, the
// tile is A^T ((B^T d B) * (G g G^T)) A: 36 products for each pair of channels, which are 36
// products of matrices over all tiles, where the direct way has 144.

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
constexpr int64_t ROWS = 6, COLUMNS = LANES * VECTORS;  // the product that stays in registers
constexpr int64_t POINTS = 36;
constexpr int64_t BLOCK = 36;  // tiles at once: what there is of them stays in the cache

typedef float Vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }

// c[i][j] (+)= sum over k of a[i * row + k * step] * b[k][j], of R rows i and COLUMNS columns j.
template <int64_t R>
inline void multiply_rows(const float* a, int64_t row, int64_t step, const float* b, float* c,
                          int64_t columns, int64_t depth, bool add) {
  Vector sum[R][VECTORS];
  for (int64_t i = 0; i < R; ++i)
    for (int64_t v = 0; v < VECTORS; ++v)
      sum[i][v] = add ? load(c + i * columns + v * LANES) : Vector{};
  for (int64_t k = 0; k < depth; ++k) {
    Vector right[VECTORS];
    for (int64_t v = 0; v < VECTORS; ++v) right[v] = load(b + k * columns + v * LANES);
    for (int64_t i = 0; i < R; ++i) {
      const float left = a[i * row + k * step];
      for (int64_t v = 0; v < VECTORS; ++v) sum[i][v] += left * right[v];
    }
  }
  for (int64_t i = 0; i < R; ++i)
    for (int64_t v = 0; v < VECTORS; ++v) store(c + i * columns + v * LANES, sum[i][v]);
}

void multiply(const float* a, int64_t row, int64_t step, const float* b, float* c, int64_t rows,
              int64_t columns, int64_t depth, bool add) {
  for (int64_t j = 0; j < columns; j += COLUMNS) {
    int64_t i = 0;
    for (; i + ROWS <= rows; i += ROWS)
      multiply_rows<ROWS>(a + i * row, row, step, b + j, c + i * columns + j, columns, depth, add);
    const float* rest = a + i * row;
    float* to = c + i * columns + j;
    switch (rows - i) {
      case 1: multiply_rows<1>(rest, row, step, b + j, to, columns, depth, add); break;
      case 2: multiply_rows<2>(rest, row, step, b + j, to, columns, depth, add); break;
      case 3: multiply_rows<3>(rest, row, step, b + j, to, columns, depth, add); break;
      case 4: multiply_rows<4>(rest, row, step, b + j, to, columns, depth, add); break;
      case 5: multiply_rows<5>(rest, row, step, b + j, to, columns, depth, add); break;
    }
  }
}

// The tiles of a picture; those at its lower and right edges reach beyond.
struct Tiles {
  int64_t height, width, channels, down, across, count;

  explicit Tiles(const at::Tensor& picture)
      : height(picture.size(2)), width(picture.size(3)), channels(picture.size(1)),
        down((height + 3) / 4), across((width + 3) / 4),
        count(picture.size(0) * down * across) {}

  // Of a tile, `side` x `side` places from `before` above and left of it: calls
  // place(number, offset of the place in the picture, or -1 outside).
  template <int64_t side, int64_t before, typename Place>
  void places(int64_t tile, const Place& place) const {
    const int64_t n = tile / (down * across), rest = tile % (down * across);
    const int64_t top = rest / across * 4 - before, left = rest % across * 4 - before;
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
  const Vector d1 = d[in], d2 = d[2 * in], d3 = d[3 * in], d4 = d[4 * in];
  const Vector even = d4 - 4 * d2, odd = d3 - 4 * d1, even2 = d4 - d2, odd2 = 2 * (d3 - d1);
  result[0] = 4 * d[0] - 5 * d2 + d4;
  result[out] = even + odd;
  result[2 * out] = even - odd;
  result[3 * out] = even2 + odd2;
  result[4 * out] = even2 - odd2;
  result[5 * out] = 4 * d1 - 5 * d3 + d[5 * in];
}

inline void output_transform(const Vector* m, int64_t in, Vector* result, int64_t out) {  // A^T m
  const Vector m1 = m[in], m2 = m[2 * in], m3 = m[3 * in], m4 = m[4 * in];
  const Vector even = m1 + m2, odd = m1 - m2, even2 = m3 + m4, odd2 = m3 - m4;
  result[0] = m[0] + even + even2;
  result[out] = odd + 2 * odd2;
  result[2 * out] = even + 4 * even2;
  result[3 * out] = odd + 8 * odd2 + m[5 * in];
}

inline void gradient_transform(const Vector* y, int64_t in, Vector* result, int64_t out) {  // A y
  const Vector y0 = y[0], y1 = y[in], y2 = y[2 * in], y3 = y[3 * in];
  const Vector even = y0 + y2, odd = y1 + y3, even2 = y0 + 4 * y2, odd2 = 2 * y1 + 8 * y3;
  result[0] = y0;
  result[out] = even + odd;
  result[2 * out] = even - odd;
  result[3 * out] = even2 + odd2;
  result[4 * out] = even2 - odd2;
  result[5 * out] = y3;
}

// Of tiles [first, last), the `side` x `side` places from `before` above and left of each to
// points[36][tile][channel], by `transform` along columns and rows.
template <int64_t side, int64_t before, typename Transform>
void transform_places(const float* picture, const Tiles& tiles, int64_t first, int64_t last,
                      const Transform& transform, float* points) {
  const int64_t channels = tiles.channels, step = (last - first) * channels;
  for (int64_t tile = first; tile < last; ++tile)
    for (int64_t c = 0; c < channels; c += LANES) {
      Vector d[36], half[36];
      tiles.places<side, before>(tile, [&](int64_t number, int64_t at) {
        d[number] = at < 0 ? Vector{} : load(picture + at + c);
      });
      for (int64_t j = 0; j < side; ++j) transform(d + j, side, half + j, side);
      for (int64_t i = 0; i < 6; ++i) transform(half + side * i, 1, d + 6 * i, 1);
      float* to = points + (tile - first) * channels + c;
      for (int64_t point = 0; point < POINTS; ++point) store(to + point * step, d[point]);
    }
}

// B^T d B of the 6 x 6 places around each tile of a picture.
void transform_inputs(const float* picture, const Tiles& tiles, int64_t first, int64_t last,
                      float* points) {
  transform_places<6, 1>(picture, tiles, first, last, input_transform, points);
}

// A y A^T of the 4 x 4 places of each tile of a gradient.
void transform_gradients(const float* gradient, const Tiles& tiles, int64_t first, int64_t last,
                         float* points) {
  transform_places<4, 0>(gradient, tiles, first, last, gradient_transform, points);
}

// points[36][tile][channel] m to A^T m A + bias, the 4 x 4 places of tiles [first, last).
void transform_outputs(const float* points, const Tiles& tiles, int64_t first, int64_t last,
                       const float* bias, float* picture) {
  const int64_t channels = tiles.channels, step = (last - first) * channels;
  for (int64_t tile = first; tile < last; ++tile)
    for (int64_t c = 0; c < channels; c += LANES) {
      Vector m[36], half[24];
      const float* from = points + (tile - first) * channels + c;
      for (int64_t point = 0; point < POINTS; ++point) m[point] = load(from + point * step);
      for (int64_t j = 0; j < 6; ++j) output_transform(m + j, 6, half + j, 6);
      for (int64_t i = 0; i < 4; ++i) output_transform(half + 6 * i, 1, m + 4 * i, 1);
      const Vector shift = bias ? load(bias + c) : Vector{};
      tiles.places<4, 0>(tile, [&](int64_t number, int64_t at) {
        if (at >= 0) store(picture + at + c, m[number] + shift);
      });
    }
}

// Tiles that a thread takes at once, so that all threads have the same to do.
int64_t block_size(const Tiles& tiles) {
  const int64_t threads = at::get_num_threads();
  const int64_t share = std::max<int64_t>((tiles.count + threads - 1) / threads, 1);
  const int64_t blocks = (share + BLOCK - 1) / BLOCK;
  return (share + blocks - 1) / blocks;
}

float* memory(std::vector<float>& kept, int64_t size) {
  if (static_cast<int64_t>(kept.size()) < size) kept.resize(size);
  return kept.data();
}

void check_channels(int64_t inputs, int64_t outputs) {
  TORCH_CHECK(inputs % LANES == 0 && outputs % COLUMNS == 0, "channels that fill no registers: ",
              inputs, " to ", outputs);
}

// x N x C x H x W, kernels G g G^T as 36 x C x K, bias K: y N x K x H x W.
at::Tensor convolve(const at::Tensor& x, const at::Tensor& kernels,
                    const std::optional<at::Tensor>& bias) {
  const int64_t inputs = x.size(1), outputs = kernels.size(2);
  check_channels(inputs, outputs);
  at::Tensor y = at::empty({x.size(0), outputs, x.size(2), x.size(3)},
                           x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const Tiles from(x), to(y);
  const int64_t size = block_size(from);
  const float* shift = bias ? bias->const_data_ptr<float>() : nullptr;
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
      transform_outputs(out, to, first, last, shift, y.mutable_data_ptr<float>());
    }
  });
  return y;
}

// The gradient of `kernels`, 36 x C x K, by x and the gradient of y.
// Every thread adds up what is its own: the same threads give the same bits.
at::Tensor kernel_gradient(const at::Tensor& x, const at::Tensor& gradient) {
  const int64_t inputs = x.size(1), outputs = gradient.size(1);
  check_channels(inputs, outputs);
  const int64_t threads = at::get_num_threads();
  at::Tensor sums = at::zeros({threads, POINTS, inputs, outputs}, x.options());
  const Tiles from(x), to(gradient);
  const int64_t size = block_size(from);
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
  return sums.sum(0);
}

}  // namespace

TORCH_LIBRARY(srgan_winograd, library) {
  library.def("convolve(Tensor x, Tensor kernels, Tensor? bias) -> Tensor", convolve);
  library.def("kernel_gradient(Tensor x, Tensor gradient) -> Tensor", kernel_gradient);
}
