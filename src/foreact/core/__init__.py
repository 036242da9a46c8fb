"""What all rooms stand on: errors, files, configs and model folders, model cards and their registry, precision, machine."""
