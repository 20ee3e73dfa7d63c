"""`videoctx classify --live`: the classes of a camera, a stream, or a file that is played at its own speed."""

import sys
from typing import Any

from videoctx.inference.classifier import Classifier
from videoctx.inference.live import LiveClassifier, LiveCounts
from videoctx.inference.live_source import LiveSource
from videoctx.interrupts import Terminated
from videoctx.terminal import printable


def classify_live(
    trained: Classifier, address: str, *, speed: float, reconnects: int, patience_seconds: float
) -> dict[str, Any]:
    """Print each change of the best class until the source ends or Ctrl-C, and return the result for JSON."""
    source = LiveSource(address, speed=speed, patience_seconds=patience_seconds)
    if speed != 1.0 and not source.is_file:
        raise ValueError(f"speed is {speed:g}, but {address} is not a file; expected no speed")
    live = LiveClassifier(trained, source, reconnects=reconnects, say=_print_error)
    ended, shown = "end of the file", None
    try:
        for result in live:
            index = int(result.probabilities.argmax())
            if index != shown:
                shown = index
                name, probability = trained.class_names[index], result.probabilities[index]
                print(
                    f"{printable(name)} {probability:.0%}  ({1000 * result.latency_seconds:.0f} ms after the frame)",
                    flush=True,
                )
    except KeyboardInterrupt as stop:
        ended = str(stop) if isinstance(stop, Terminated) else "Ctrl-C"
    if live.lost and live.counts.frames == 0:
        raise ValueError(live.lost)
    if live.lost:
        ended = live.lost
        _print_error(live.lost)
    print(_summary(live.counts))
    return {"source": address, "ended": ended, "lost": live.lost is not None, **_numbers(live.counts)}


def _print_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _numbers(counts: LiveCounts) -> dict[str, Any]:
    return {
        "num_frames": counts.frames,
        "num_damaged": counts.damaged,
        "num_clips": counts.clips,
        "num_results": counts.results,
        "num_dropped": counts.dropped,
        "num_reconnects": counts.reconnects,
        "latency_p50_seconds": counts.latency_seconds(50),
        "latency_p95_seconds": counts.latency_seconds(95),
    }


def _summary(counts: LiveCounts) -> str:
    text = f"{counts.frames} frames, {counts.clips} clips: {counts.results} results, {counts.dropped} dropped for newer"
    p50, p95 = counts.latency_seconds(50), counts.latency_seconds(95)
    if p50 is None or p95 is None:
        return text
    return f"{text}; from a clip's last frame to its result p50 {1000 * p50:.0f} ms, p95 {1000 * p95:.0f} ms"
