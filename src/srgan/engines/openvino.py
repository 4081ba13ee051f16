"""The openvino engine, the default on CPUs: builds its graph from the arrays of a checkpoint."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from srgan.engines.base import EngineError, run_whole, srresnet_tiling
from srgan.engines.devices import choose_device, native_of
from srgan.engines.library import openvino, opset, shared_core
from srgan.engines.openvino_graph import GraphOperations, Int8Ranges
from srgan.engines.options import EngineOptions, Precision
from srgan.engines.precision import automatic_ranges, has_bf16, native_precision
from srgan.engines.processor import has_vnni, processor_flags, quota_cores
from srgan.networks import folding
from srgan.networks.architecture import Checkpoint

# Convolutions that int8 leaves in float. Each of the last two alone causes more of the int8 error
# than most others together, and costs little speed (benchmarks/RESULTS.md).
KEPT_FLOAT = ("head.conv", "blocks.0.conv1", "trunk.conv")
CALIBRATION_SIDE = 64
CALIBRATION_TILES = 16

Stage = Callable[[folding.FoldedGenerator, GraphOperations, Any], Any]

log = logging.getLogger("srgan")


class OpenVINOEngine:
    """CPU inference; see `Engine`.

    "auto" is bf16 with AMX. Otherwise it is int8 if the processor has VNNI and the model file says
    that this loses at most 0.02 dB (`info["int8_loss"]`), else bf16 if that is fast, else fp32.

    int8 takes its ranges from the model file's `info["int8"]`. A model without ranges is
    calibrated on the first tile.

    Raises:
        EngineError: the processor cannot run the precision.
    """

    name = "openvino"
    precision: Precision

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        self._core = shared_core()
        self._device = choose_device(options.device, self._core.available_devices)
        self.device = self._device.lower()
        self._threads = options.threads or quota_cores()  # openvino knows the affinity only
        self._generator = folding.fold(checkpoint)
        stored: Int8Ranges | None = checkpoint.info.get("int8")
        self.precision = options.precision
        if self._device != "CPU":
            if options.precision == "auto":
                self.precision = native_of(self._device, "fp32")
        elif options.precision == "auto" and (ranges := automatic_ranges(checkpoint.info)):
            self.precision, stored = "int8", ranges
        else:
            self.precision = resolve(options.precision)
        self.scale = self._generator.scale
        self.unshuffle = self._generator.unshuffle
        self._float: Precision = native_precision() if self.precision == "int8" else self.precision
        half = self._device == "CPU" and self._float == "bf16"  # so are features
        self._features = openvino.Type.bf16 if half else openvino.Type.f32
        amx = half and "amx_bf16" in processor_flags()
        self.tiling = srresnet_tiling(folding.tail_halo(self._generator), lean=half, amx=amx)
        self._ranges = stored if self.precision == "int8" else {}
        # Compiled at the first tile: of the models that --model auto may need, many never get one.
        self._stages: list[openvino.InferRequest] = []

    def _build(self, ranges: Int8Ranges) -> list[openvino.InferRequest]:
        """Compile the two stages for any height and width. Fixed sizes would not be faster."""
        settings = device_settings(self._device, self._float, self._threads)
        f32 = openvino.Type.f32

        def compile(stage: Stage, channels: int, reads: Any, gives: Any) -> openvino.InferRequest:
            parameter = opset.parameter([1, channels, -1, -1], reads)
            x = stage(self._generator, GraphOperations(ranges), opset.convert(parameter, f32))
            model = graph_model([opset.convert(x, gives)], parameter)
            return self._core.compile_model(model, self._device, settings).create_infer_request()

        channels = folding.feature_channels(self._generator)
        return [
            compile(folding.features, 3, f32, self._features),
            compile(folding.reconstruct, channels, self._features, f32),
        ]

    def features(self, lr: np.ndarray) -> np.ndarray:
        if not self._stages:
            if self._ranges is None:
                log.warning("this model has no int8 ranges: measuring them on the first tile")
                self._ranges = calibrate(self._generator, calibration_tiles(lr))
            self._stages = self._build(self._ranges)
        return infer(self._stages[0], lr, copy=False)

    def reconstruct(self, features: np.ndarray) -> np.ndarray:
        if not self._stages:
            raise RuntimeError("call features before reconstruct")
        return infer(self._stages[1], features, copy=True)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return run_whole(self, lr)


def device_settings(device: str, precision: Precision, threads: int | None) -> dict[str, str]:
    """Settings of an openvino plugin.

    Args:
        device: openvino's name, such as "CPU" or "GPU.0".
        precision: fp32, bf16 or fp16.
        threads: of the CPU, by default openvino's choice.
    """
    types = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": types[precision]}
    if device != "CPU":
        return settings
    # Otherwise openvino keeps the kernels of every shape: 2 to 10 MB per picture size.
    settings["CPU_RUNTIME_CACHE_CAPACITY"] = "0"
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
        # With pinning, several processes with one thread each would share the first core.
        settings["ENABLE_CPU_PINNING"] = "NO"
    return settings


def graph_model(results: list[Any], parameter: Any) -> openvino.Model:
    """An openvino model of a graph, from its result nodes and its input node."""
    make_model: Any = openvino.Model  # its types do not admit nodes as results
    return make_model(results, [parameter], "srgan")


def infer(request: openvino.InferRequest, x: np.ndarray, *, copy: bool) -> np.ndarray:
    """Run a compiled model of one input and one output.

    Args:
        copy: the result is the caller's; otherwise it is valid until the next call.

    Raises:
        MemoryError: openvino cannot allocate what the shape needs.
    """
    try:
        kind = request.model_inputs[0].element_type
        tensor = openvino.Tensor(np.ascontiguousarray(x), x.shape, kind)
        return request.infer([tensor], share_inputs=True, share_outputs=not copy)[0]
    except RuntimeError as error:
        if "alloc" in str(error):
            raise MemoryError(str(error)) from error
        raise


def calibrate(generator: folding.FoldedGenerator, tiles: Iterable[np.ndarray]) -> Int8Ranges:
    """Measure the input range of every convolution that int8 quantises, over LR tiles.

    A range goes from the mean of the tiles' lowest values to the mean of their highest values. So
    rare outliers are clipped. That costs less than the coarser steps of a range that holds them.

    Args:
        tiles: (1, 3, H, W) each, RGB float32 in [0, 1].

    Returns:
        [lowest, highest] by the name of the convolution.
    """
    lr = opset.parameter([1, 3, -1, -1], np.float32)
    graph = GraphOperations({})
    folding.whole(generator, graph, lr)
    inputs = {name: x for name, x in graph.inputs.items() if name not in KEPT_FLOAT}
    axes = opset.constant([0, 1, 2, 3])
    ends = [end(x, axes) for x in inputs.values() for end in (opset.reduce_min, opset.reduce_max)]
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = shared_core().compile_model(graph_model(ends, lr), "CPU", settings)
    mean = np.mean([[float(end) for end in model([tile]).values()] for tile in tiles], axis=0)
    lows, highs = np.minimum(mean[::2], 0), np.maximum(mean[1::2], 0)
    highs = np.maximum(highs, lows + 1e-3)  # a flat tile also needs a range
    return {
        name: [float(low), float(high)] for name, low, high in zip(inputs, lows, highs, strict=True)
    }


def calibration_tiles(lr: np.ndarray) -> list[np.ndarray]:
    """Up to CALIBRATION_TILES crops of LR (1, 3, H, W), evenly spread, at most 64 x 64 each."""
    side = CALIBRATION_SIDE
    height, width = lr.shape[2:]
    corners = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    chosen = np.linspace(0, len(corners) - 1, min(len(corners), CALIBRATION_TILES)).astype(int)
    return [
        np.ascontiguousarray(lr[:, :, y : y + side, x : x + side])
        for y, x in (corners[int(i)] for i in chosen)
    ]


def processor_name() -> str:
    """The processor's name, as its maker states it."""
    return shared_core().get_property("CPU", "FULL_DEVICE_NAME").strip()


def resolve(precision: Precision) -> Precision:
    """The precision that runs.

    openvino silently runs another precision if the processor lacks the requested one. This raises
    EngineError instead.
    """
    if precision == "auto":
        return native_precision()
    capabilities = shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    able = {
        "fp32": True,
        "bf16": "BF16" in capabilities and has_bf16(),
        "fp16": "FP16" in capabilities,
        "int8": has_vnni() is not False,
    }
    if not able[precision]:
        alternatives = " or ".join(name for name, possible in able.items() if possible)
        raise EngineError(f"this processor has no {precision}; use --precision {alternatives}")
    return precision
