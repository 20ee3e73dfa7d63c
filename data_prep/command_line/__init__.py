"""What all commands share: parsing the command line, exit statuses, and what is printed."""
