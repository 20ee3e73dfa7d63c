"""Every family of networks trains, validates and tests by the commands, and its checkpoint predicts."""

import pytest
import yaml

import videoctx
from tests.each_case import each_case
from tests.tiny_runs import result_of

RESNET, NARROW = "videoctx.models.ResNet3D", {"depth": 18, "width": 8}
FAMILIES = {
    "SlowFast": ("videoctx.models.SlowFast", {"width": 8, "alpha": 2}),
    "X3D": ("videoctx.models.X3D", {"width_factor": 0.5, "depth_factor": 1.0}),
    "CSN": ("videoctx.models.CSN", {"depth": 50, "width": 8}),
    "R(2+1)D": ("videoctx.models.R2Plus1D", {"width": 8}),
    "TSM": (RESNET, NARROW | {"first_conv": {"class_path": "videoctx.layers.TemporalShiftConv3d"}}),
    "r3d7": (RESNET, NARROW | {"temporal_kernels": "r3d7", "pool1_t": [3, 2], "stage_stride_t": [1, 2, 2, 2]}),
    "ir-CSN": (RESNET, {"depth": 50, "width": 4, "conv": {"class_path": "videoctx.layers.DepthwiseConv3d"}}),
    "FPT": (
        RESNET,
        NARROW | {"neck": {"class_path": "videoctx.layers.FeaturePyramidTransformer", "init_args": {"width": 8}}},
    ),
}


@pytest.mark.slow
@each_case("name", FAMILIES)
def test_a_family_trains_and_predicts(name, run, place, tmp_path):
    class_path, arguments = FAMILIES[name]
    config = tmp_path / "network.yaml"
    config.write_text(yaml.safe_dump({"model": {"net": {"class_path": class_path, "init_args": arguments}}}))
    label = name.replace("(", "").replace(")", "").replace("+", "p")
    trained = run("fit", "-c", config, "--trainer.max_epochs=2", name=f"{label}-fit")
    checkpoint = trained / "checkpoints" / "last.ckpt"
    tested = run("test", "-c", config, f"--ckpt_path={checkpoint}", name=f"{label}-test")
    assert result_of(tested)["num_videos"] == 5
    prediction = videoctx.load(checkpoint).predict(str(place.videos / "test0.mp4"), top=3)
    assert sum(probability for _, probability in prediction) == pytest.approx(1, abs=1e-4)
