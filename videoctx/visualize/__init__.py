"""What a network sees: attention maps and class activation maps, laid over the video, and measured."""
