"""The corpus of files, decoded on a GPU and on the CPU, and a loader that uses both."""

import shutil

import numpy as np
import pytest
import torch

from tests import corpus
from videoctx.data.annotations import VideoRecord
from videoctx.data.decoding.containers import probe
from videoctx.data.loading.dataset import VideoDataset
from videoctx.data.loading.gpu_decoding import GpuDecoding, check_gpu_decoding
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.sampling.video_samplers import EvaluationSampler
from videoctx.data.settings import GpuDecodingSettings

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        shutil.which("ffmpeg") is None, reason="FFmpeg's command line, which makes the files, is missing"
    ),
]
MAX_MEAN_DIFFERENCE = 2  # of 255: the GPU converts colors with other rounding


@pytest.fixture
def nvdec(cuda):
    """The module of the reader, where the GPU can decode."""
    try:
        check_gpu_decoding(cuda)
    except ValueError as error:
        pytest.skip(str(error))
    from videoctx.data.decoding import nvdec_reader

    return nvdec_reader


def test_frames_of_the_corpus_are_those_of_the_cpu(nvdec, cuda, tmp_path):
    refused, compared = {}, []
    for name in corpus.DECODERS:
        path = corpus.make(name, tmp_path)
        if name in corpus.INEXACT_WHEN_SEEKING or "torchcodec" not in probe(str(path)).decoders:
            continue
        try:
            reader = nvdec.NvdecReader(str(path), cuda, num_frames=None)
        except nvdec.NotOnGpuError as error:
            refused[name] = str(error)
            continue
        on_cpu = nvdec.NvdecReader(str(path), torch.device("cpu"), num_frames=None)
        for indices in (np.arange(reader.num_frames), np.arange(0, reader.num_frames, 7), np.array([0])):
            difference = (reader.read(indices).cpu().int() - on_cpu.read(indices).int()).abs().float()
            assert difference.mean(dim=(1, 2, 3)).max() < MAX_MEAN_DIFFERENCE, name
        compared.append(name)
    if any("NVcuvid unavailable" in reason for reason in refused.values()):
        pytest.skip("the GPU, or its driver, has no NVDEC")
    assert "h264_closed.mp4" in compared, refused


@pytest.mark.usefixtures("nvdec")
def test_a_loader_decodes_on_the_gpu_and_in_processes(cuda, video_folder):
    records = [VideoRecord(str(video.path), 0, "train") for video in video_folder.videos["train"]]
    dataset = VideoDataset(records, sampler=RandomClips(shape=ClipShape(clip_len=3, frame_interval=2)), seed=0)
    sampler = EvaluationSampler(len(records), num_ranks=1, rank=0)

    def videos(gpu):
        loader = VideoLoader(dataset, sampler, batch_size=2, num_workers=1, gpu=gpu)
        found = [video for batch in loader for video in batch.to(cuda).videos]
        loader.close()
        return found

    gpu = GpuDecoding(dataset, cuda, GpuDecodingSettings(share=0.5), deadline_seconds=30)
    for found, expected in zip(videos(gpu), videos(None), strict=True):
        assert found.frames.device == expected.frames.device
        difference = (found.frames.int() - expected.frames.int()).abs().float()
        assert difference.mean() < MAX_MEAN_DIFFERENCE, found.path
