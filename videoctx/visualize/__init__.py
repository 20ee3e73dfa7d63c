"""Where a network looks: attention maps and Grad-CAM, laid over the video, and statistics of attention."""
