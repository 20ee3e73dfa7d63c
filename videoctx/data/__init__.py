"""From video files to batches of clips. The LightningDataModule is in `videoctx.data.datamodule`."""
