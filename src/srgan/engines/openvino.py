"""The openvino engine: the default on CPUs. Its graph is built from the arrays of a checkpoint."""

import functools
import logging
import sys
from collections.abc import Iterable
from typing import Any

# openvino's start-up telemetry forks a sender that opens a connection. With this entry its
# import of the sender fails, which it takes for "telemetry is not installed".
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import numpy as np  # noqa: E402
import openvino  # noqa: E402
from openvino import opset13 as opset  # noqa: E402

from srgan.engines.base import EngineError  # noqa: E402
from srgan.engines.options import EngineOptions, Precision  # noqa: E402
from srgan.engines.processor import bf16_is_slow, processor_flags  # noqa: E402
from srgan.networks import folding  # noqa: E402
from srgan.networks.architecture import Checkpoint  # noqa: E402

Int8Ranges = dict[str, list[float]]  # convolution -> lowest and highest value of its input

# Not quantised: alone, each of the last three carries more of the int8 error than all others
# together, and but for upsample.0 they cost nothing (benchmarks/RESULTS.md).
KEPT_FLOAT = ("head.conv", "blocks.0.conv1", "trunk.conv", "upsample.0.conv")
CALIBRATION_SIDE = 64
CALIBRATION_TILES = 16

log = logging.getLogger("srgan")


@functools.cache
def shared_core() -> openvino.Core:
    """The only Core of the process, which lives as long.

    On Linux each Core's CPU plugin gives its thread a signal stack of its own, and takes it back
    when it ends. Of two that end in the order they began, the second puts back the first one's,
    which is unmapped by then: the next signal that Python handles ends the process by SIGSEGV.
    """
    return openvino.Core()


class GraphOperations:
    """The folded network's operations as nodes of an openvino graph.

    Convolutions named in `ranges` are computed in int8: openvino's low-precision passes turn
    the fake-quantize nodes around them into real ones. `inputs` collects what each one reads.
    """

    def __init__(self, ranges: Int8Ranges) -> None:
        self.ranges = ranges
        self.inputs: dict[str, Any] = {}

    def convolution(self, x: Any, convolution: folding.Convolution) -> Any:
        name, pad = convolution.name, convolution.weight.shape[-1] // 2
        self.inputs[name] = x
        weight = opset.constant(convolution.weight)
        if name in self.ranges:
            x = _quantised_input(x, *self.ranges[name])
            weight = _quantised_weight(convolution.weight)
        x = opset.convolution(x, weight, [1, 1], [pad, pad], [pad, pad], [1, 1])
        x = opset.add(x, opset.constant(convolution.bias.reshape(1, -1, 1, 1)))
        if convolution.slope is None:
            return x
        return opset.prelu(x, opset.constant(np.array([convolution.slope], np.float32)))

    def add(self, a: Any, b: Any) -> Any:
        return opset.add(a, b)

    def shuffle(self, x: Any) -> Any:
        return opset.depth_to_space(x, "depth_first", 2)

    def to_unit_range(self, x: Any) -> Any:
        half = opset.constant(np.float32(0.5))
        return opset.add(opset.multiply(opset.tanh(x), half), half)

    def normalize(self, x: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
        shift, divisor = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (mean, std))
        return opset.divide(opset.subtract(x, opset.constant(shift)), opset.constant(divisor))

    def join(self, a: Any, b: Any) -> Any:
        return opset.concat([a, b], 1)

    def split(self, x: Any, channels: int) -> tuple[Any, Any]:
        parts = opset.variadic_split(x, 1, [channels, -1])
        return parts.output(0), parts.output(1)

    def enlarge(self, x: Any, scale: int) -> Any:
        scales = np.array([scale, scale], np.float32)
        return opset.interpolate(x, scales, "linear_onnx", "scales", axes=[2, 3])

    def clamp(self, x: Any) -> Any:
        return opset.clamp(x, 0.0, 1.0)


def _quantised_weight(weight: np.ndarray) -> Any:
    """Symmetric, per output channel."""
    top = np.maximum(np.abs(weight).max(axis=(1, 2, 3), keepdims=True), 1e-8)
    return opset.fake_quantize(opset.constant(weight), -top, top, -top, top, 255)


def _quantised_input(x: Any, low: float, high: float) -> Any:
    """Asymmetric, per tensor. Zero must be one of the levels: the convolution pads with it."""
    step = (high - low) / 255
    lowest = -round(-low / step) * step
    ends = np.array([lowest, lowest + 255 * step], np.float32).reshape(2, 1, 1, 1, 1)
    return opset.fake_quantize(x, ends[0], ends[1], ends[0], ends[1], 256)


class OpenVINOEngine:
    """CPU inference; see `Engine`. `auto` is bf16 where that is fast.

    int8 takes its ranges from the model file's `info["int8"]`; a model without them is
    calibrated on the first tile that it sees.
    """

    device = "cpu"
    precision: Precision

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        self._core = shared_core()
        self._threads = options.threads
        self._generator = folding.fold(checkpoint)
        self.precision = _resolve(options.precision, self._core)
        self.scale = self._generator.scale
        self.tail_halo = folding.tail_halo(self._generator)
        ranges = checkpoint.info.get("int8") if self.precision == "int8" else {}
        self._stages = None if ranges is None else self._build(ranges)

    def _build(self, ranges: Int8Ranges) -> list[openvino.InferRequest]:
        """The two stages, compiled for any height and width: as fast as for fixed ones."""
        types = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
        floats = native_precision() if self.precision == "int8" else self.precision
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": types[floats]}
        if self._threads:
            settings["INFERENCE_NUM_THREADS"] = str(self._threads)
            # Pinned, all processes with one thread each would share the first core.
            settings["ENABLE_CPU_PINNING"] = "NO"
        stages = []
        for stage, channels in (
            (folding.features, 3),
            (folding.reconstruct, folding.feature_channels(self._generator)),
        ):
            x = opset.parameter([1, channels, -1, -1], np.float32)
            model = graph_model([stage(self._generator, GraphOperations(ranges), x)], x)
            stages.append(self._core.compile_model(model, "CPU", settings).create_infer_request())
        return stages

    def features(self, lr: np.ndarray) -> np.ndarray:
        if self._stages is None:
            log.warning("this model has no int8 ranges: calibrated on the first picture")
            self._stages = self._build(calibrate(self._generator, calibration_tiles(lr)))
        return _infer(self._stages[0], lr, copy=False)

    def reconstruct(self, features: np.ndarray) -> np.ndarray:
        if self._stages is None:
            raise RuntimeError("features come first")
        return _infer(self._stages[1], features, copy=True)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return self.reconstruct(self.features(lr))


def graph_model(results: list[Any], parameter: Any) -> Any:
    """A graph as an openvino model."""
    return openvino.Model(results, [parameter], "srgan")  # pyright: ignore[reportGeneralTypeIssues]


def _infer(request: openvino.InferRequest, x: np.ndarray, *, copy: bool) -> np.ndarray:
    try:
        inputs = [np.ascontiguousarray(x)]
        return request.infer(inputs, share_inputs=True, share_outputs=not copy)[0]
    except RuntimeError as error:
        if "alloc" in str(error):
            raise MemoryError(str(error)) from error
        raise


def calibrate(generator: folding.FoldedGenerator, tiles: Iterable[np.ndarray]) -> Int8Ranges:
    """The range of the input of every convolution to quantise, over LR tiles.

    The mean of the tiles' lowest and of their highest values: rare outliers are clipped, which
    costs less than the coarser steps that would hold them.

    Args:
        tiles: (1, 3, H, W) each, RGB float32 in [0, 1].
    """
    lr = opset.parameter([1, 3, -1, -1], np.float32)
    graph = GraphOperations({})
    folding.reconstruct(generator, graph, folding.features(generator, graph, lr))
    inputs = {name: x for name, x in graph.inputs.items() if name not in KEPT_FLOAT}
    axes = opset.constant([0, 1, 2, 3])
    ends = [end(x, axes) for x in inputs.values() for end in (opset.reduce_min, opset.reduce_max)]
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = shared_core().compile_model(graph_model(ends, lr), "CPU", settings)
    mean = np.mean([[float(end) for end in model([tile]).values()] for tile in tiles], axis=0)
    lows, highs = np.minimum(mean[::2], 0), np.maximum(mean[1::2], 0)
    highs = np.maximum(highs, lows + 1e-3)  # a flat tile still gives a range
    return {
        name: [float(low), float(high)] for name, low, high in zip(inputs, lows, highs, strict=True)
    }


def calibration_tiles(lr: np.ndarray) -> list[np.ndarray]:
    """Up to CALIBRATION_TILES crops, spread evenly, of (1, 3, H, W)."""
    side = CALIBRATION_SIDE
    height, width = lr.shape[2:]
    corners = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    chosen = np.linspace(0, len(corners) - 1, min(len(corners), CALIBRATION_TILES)).astype(int)
    return [
        np.ascontiguousarray(lr[:, :, y : y + side, x : x + side])
        for y, x in (corners[i] for i in chosen)
    ]


def native_precision() -> Precision:
    """What this processor computes fastest without loss: openvino's default, if that is fast."""
    default = shared_core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    return "bf16" if default == openvino.Type.bf16 and not bf16_is_slow() else "fp32"


def processor_name() -> str:
    """The processor as its maker names it."""
    return shared_core().get_property("CPU", "FULL_DEVICE_NAME").strip()


def _resolve(precision: Precision, core: openvino.Core) -> Precision:
    """openvino runs bf16 in silence when asked for what a processor lacks: refuse that."""
    if precision == "auto":
        return native_precision()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    flags = processor_flags()
    able = {
        "fp32": True,
        "bf16": "BF16" in capabilities and (not flags or any("bf16" in flag for flag in flags)),
        "fp16": "FP16" in capabilities,
        "int8": not flags or any("vnni" in flag for flag in flags),
    }
    if not able[precision]:
        alternatives = " or ".join(name for name, possible in able.items() if possible)
        raise EngineError(f"this processor has no {precision}; use --precision {alternatives}")
    return precision
