// The convolutions of a network whose batch norm is folded, for upscaling on a CPU in float32. 3x3 and
// 5x5 kernels go by Winograd's algorithm, a third of the direct way's products. kernels.py compiles
// it, programs.py calls it. Pictures are H x W x C.

#include <omp.h>

#include <algorithm>
#include <vector>

#include "../networks/winograd.h"

namespace {

// What happens to the values of a convolution: bias, PReLU with a slope for each channel, + plus, and
// a PixelShuffle whose channels come in the order (row, column, channel).
struct Finish {
  const float *bias, *slopes, *plus;  // slopes and plus may be null
  float* y;
  Pictures to;  // y: where the values of each place begin
  std::vector<int64_t> offsets;  // from there, by LANES channels

  Finish(const float* bias, const float* slopes, const float* plus, int64_t shuffle, float* y,
         int64_t height, int64_t width, int64_t channels)
      : bias(bias), slopes(slopes), plus(plus), y(y), to(1, height, width, channels) {
    const int64_t each = channels / (shuffle * shuffle), row = width * shuffle * each;
    to.across = shuffle * each;
    to.down = shuffle * row;
    for (int64_t c = 0; c < channels; c += LANES) {
      const int64_t block = c / each;
      offsets.push_back(block / shuffle * row + block % shuffle * each + c % each);
    }
  }

  void operator()(int64_t at, int64_t channel, Vector value) const {
    value += load(bias + channel);
    if (slopes) value = value > 0 ? value : value * load(slopes + channel);
    if (plus) value += load(plus + at + channel);
    store(y + at + offsets[channel / LANES], value);
  }
};

template <int64_t M>
void winograd(const std::vector<const float*>& x, const std::vector<Pictures>& from, int64_t inputs,
              const float* points, const Finish& finish, int64_t threads) {
  const Tiles<M> written(finish.to);
  const int64_t blocks = (written.count + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t block = 0; block < blocks; ++block) {
    static thread_local std::vector<float> kept_in, kept_out;
    const int64_t first = block * BLOCK, last = std::min(first + BLOCK, written.count);
    float* in = memory(kept_in, POINTS * point_step(BLOCK, inputs));
    int64_t before = 0;
    for (size_t part = 0; part < x.size(); ++part) {
      transform_inputs(x[part], Tiles<M>(from[part]), first, last, in + before, inputs);
      before += from[part].channels;
    }
    multiply_points(in, inputs, points, written, first, last,
                    memory(kept_out, POINTS * point_step(BLOCK, finish.to.channels)), finish);
  }
}

}  // namespace

extern "C" {

// Winograd's convolution. The input is `parts` pictures H x W x channels[i], one after the other along
// the channels; their places and rows lie across[i] and down[i] floats apart. Points are the
// transformed kernels, 64 x inputs x outputs; `side` is 3 or 5.
void srgan_winograd(int64_t parts, const float* const* x, const int64_t* across,
                    const int64_t* down, const int64_t* channels, int64_t height, int64_t width,
                    const float* points, int64_t side, int64_t outputs, const float* bias,
                    const float* slopes, const float* plus, int64_t shuffle, float* y,
                    int64_t threads) {
  std::vector<Pictures> from;
  int64_t inputs = 0;
  for (int64_t part = 0; part < parts; ++part) {
    from.emplace_back(1, height, width, channels[part]);
    from.back().across = across[part];
    from.back().down = down[part];
    inputs += channels[part];
  }
  const Finish finish(bias, slopes, plus, shuffle, y, height, width, outputs);
  const std::vector<const float*> begin(x, x + parts);
  if (side == 3)
    winograd<6>(begin, from, inputs, points, finish, threads);
  else
    winograd<4>(begin, from, inputs, points, finish, threads);
}

// G g G^T of `size` kernels, side x side x size, by G, 8 x side.
void srgan_transform(const float* kernels, int64_t side, int64_t size, const float* transform,
                     float* points, int64_t threads) {
#pragma omp parallel for num_threads(threads)
  for (int64_t c = 0; c < size; c += LANES)
    transform_matrices(kernels + c, transform, SIDE, side, size, points + c);
}

// The direct convolution, for few inputs. x has the zeros around it: (H + side - 1) x (W + side - 1)
// x inputs; kernels are side x (side * inputs) x outputs.
void srgan_direct(const float* x, int64_t height, int64_t width, int64_t inputs,
                  const float* kernels, int64_t side, int64_t outputs, const float* bias,
                  const float* slopes, const float* plus, int64_t shuffle, float* y,
                  int64_t threads) {
  const int64_t depth = side * inputs, row = (width + side - 1) * inputs;
  const Finish finish(bias, slopes, plus, shuffle, y, height, width, outputs);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t i = 0; i < height; ++i) {
    static thread_local std::vector<float> kept;
    float* sums = memory(kept, width * outputs);
    for (int64_t k = 0; k < side; ++k)
      multiply(x + (i + k) * row, inputs, 1, kernels + k * depth * outputs, sums, width, outputs,
               depth, k > 0);
    for (int64_t j = 0; j < width; ++j)
      for (int64_t c = 0; c < outputs; c += LANES)
        finish(i * finish.to.down + j * finish.to.across, c, load(sums + j * outputs + c));
  }
}

// y = a * x + b * z of `size` floats; y may be x or z.
void srgan_sum(const float* x, float a, const float* z, float b, float* y, int64_t size,
               int64_t threads) {
#pragma omp parallel for simd num_threads(threads)
  for (int64_t i = 0; i < size; ++i) y[i] = a * x[i] + b * z[i];
}

// Enlarges x, H x W x channels, by nearest neighbours: y is factor H x factor W x channels.
void srgan_repeat(const float* x, int64_t height, int64_t width, int64_t channels, int64_t factor,
                  float* y, int64_t threads) {
  const int64_t row = width * factor * channels;
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < height; ++i) {
    float *first = y + i * factor * row, *to = first;
    for (const float* from = x + i * width * channels; to < first + row; from += channels)
      for (int64_t k = 0; k < factor; ++k) to = std::copy_n(from, channels, to);
    for (int64_t k = 1; k < factor; ++k) std::copy_n(first, row, first + k * row);
  }
}

int64_t srgan_lanes() { return LANES; }

// The threads of this one end; the next convolution starts new ones.
void srgan_end_threads() { omp_pause_resource_all(omp_pause_hard); }
}
