"""What the commands that write synthetic datasets share."""
