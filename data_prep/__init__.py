"""Commands that prepare a data set, in the order in which they are used.

    python -m data_prep.download_kinetics     download and unpack Kinetics
    python -m data_prep.write_annotations     write a manifest of your own videos or of a public dataset
    python -m data_prep.transcode             re-encode the videos, so that training reads them quickly and exactly
    python -m data_prep.inspect_videos        decode every video once, record what it contains, find duplicates
    python -m data_prep.summarize             write an HTML page about the data set
    python -m data_prep.write_shards          pack the videos into tar shards

    python -m data_prep.make_toy_dataset      write a synthetic dataset of moving shapes
    python -m data_prep.make_relations_dataset  write a synthetic dataset of relations between distant times

Each command is a folder: `__main__.py` has its arguments, the other files are its parts. What several commands share is
in `command_line`, `manifests`, `scheduling` and `synthetic`.
"""
