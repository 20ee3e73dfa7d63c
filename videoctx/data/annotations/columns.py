"""Names of the manifest's columns (their meaning: `videoctx.data.annotations`)."""

COLUMNS = ("path", "label", "split", "start_seconds", "end_seconds")
REQUIRED_COLUMNS = COLUMNS[:3]
PROBE_COLUMNS = ("size_bytes", "decoders", "num_frames", "fps", "variable_frame_rate", "problem", "video_stream")
READ_COLUMNS = (*COLUMNS, "weight", *PROBE_COLUMNS)  # all that a record is made of
LABEL_SEPARATOR = "|"  # between the class names of a video that has several
