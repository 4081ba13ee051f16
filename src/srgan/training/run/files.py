"""Names of the files in a run folder, for those who must not take them for photographs."""

METRICS = "metrics.jsonl"
SAMPLES = "samples"
CURVES = "curves.png"
WANDB = "wandb"  # the folder that wandb makes
